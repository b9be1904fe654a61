from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.utils.ratelimit.limiter import Fault, LimiterError
from app.utils.ratelimit.protocol import MOST, UNITS, Reply, question, read

#: A full minute by the clock, and a moment within it.
MINUTE = 1_700_000_040.0
NOW = MINUTE + 12.25


def answer(code: str = 'OK', **changed: Any) -> bytes:
    """Return an answer as the service writes it; a field that is changed to None is left out."""
    status = {
        'code': code,
        'currentLimit': {'requestsPerUnit': 10, 'unit': 'MINUTE'},
        'limitRemaining': 7,
        'durationUntilReset': '48s',
    }
    status |= changed
    fields = {name: value for name, value in status.items() if value is not None}
    return json.dumps({'overallCode': code, 'statuses': [fields]}).encode()


def fault_of(status: int, body: bytes) -> Fault:
    with pytest.raises(LimiterError) as caught:
        read(status, body, NOW)
    # A line of a log: neither of many lines nor of megabytes.
    assert len(str(caught.value)) < 1000
    assert '\n' not in str(caught.value)
    return caught.value.fault


def test_a_question_is_about_one_descriptor_in_a_domain() -> None:
    assert json.loads(question('shop', 'mail "x"', 3)) == {
        'domain': 'shop',
        'descriptors': [{'entries': [{'key': 'generic_key', 'value': 'mail "x"'}]}],
        'hitsAddend': 3,
    }


def test_ok_grants_all() -> None:
    assert read(200, answer(), NOW) == Reply(True, 10, 7, 47.75, 60.0)


def test_over_limit_grants_nothing() -> None:
    body = answer('OVER_LIMIT', limitRemaining=None)
    assert read(429, body, NOW) == Reply(False, 10, 0, 47.75, 60.0)


def test_some_remain_after_a_refusal_of_many() -> None:
    assert read(429, answer('OVER_LIMIT', limitRemaining=3), NOW).remaining == 3


def test_the_code_counts_whatever_the_status() -> None:
    assert not read(200, answer('OVER_LIMIT'), NOW).granted


def test_numbers_that_are_left_out_are_zero() -> None:
    body = answer('OVER_LIMIT', limitRemaining=None, currentLimit={'unit': 'HOUR'})
    reply = read(429, body, NOW)
    assert (reply.limit, reply.remaining, reply.window) == (0, 0, 3600.0)


def test_unlimited_is_without_a_limit() -> None:
    body = answer(limitRemaining=MOST, currentLimit=None, durationUntilReset=None)
    reply = read(200, body, NOW)
    assert reply.granted
    assert reply.limit is None


def test_a_name_that_the_service_does_not_know_is_told_apart() -> None:
    assert fault_of(200, b'{"overallCode": "OK", "statuses": [{"code": "OK"}]}') is (
        Fault.UNKNOWN_NAME
    )


@pytest.mark.parametrize(
    ('unit', 'seconds'), [('SECOND', 0.75), ('MINUTE', 47.75), ('HOUR', 3600 - NOW % 3600)]
)
def test_windows_of_an_older_service_end_by_the_clock(unit: str, seconds: float) -> None:
    limit = {'requestsPerUnit': 10, 'unit': unit}
    assert read(200, answer(currentLimit=limit, durationUntilReset=None), NOW).reset_in == seconds


@pytest.mark.parametrize(
    ('text', 'seconds'),
    # Full seconds are up to the end of the last one; so is what is rounded down to none.
    [('48s', 47.75), ('1s', 0.75), ('0s', 0.75), ('1.5s', 1.5), ('0.250s', 0.25), ('60s', 59.75)],
)
def test_a_window_ends_with_a_second_of_the_clock(text: str, seconds: float) -> None:
    assert read(200, answer(durationUntilReset=text), NOW).reset_in == seconds


@pytest.mark.parametrize(
    'body',
    [
        b'<html>It works</html>', b'', b'{"overallCode": "OK"', b'\xff\xfe\x00', b'[]', b'{}',
        b'[' * 100_000 + b']' * 100_000, b'{"overallCode": "OK", "statuses": []}',
        b'{"overallCode": "OK", "statuses": [{"code": "OK"}, {"code": "OK"}]}',
        *(answer(code) for code in ('UNKNOWN', 'ok', '', 'x' * 100_000)),
        *(
            answer(limitRemaining=value)
            for value in (-1, 11, 7.5, '7', True, 10**30, float('nan'), 'x' * 10**5)
        ),
        *(
            answer(currentLimit={'requestsPerUnit': value, 'unit': 'MINUTE'}, limitRemaining=None)
            for value in (-1, '10', False, 2**32, 10**300)
        ),
        *(
            answer(currentLimit=limit)
            for limit in ({}, [], 'MINUTE', {'requestsPerUnit': 10}, {'unit': 'minute'})
        ),
        *(
            answer(durationUntilReset=text)
            for text in ('-1s', '61s', '9' * 400 + 's', 's', '', '48', 'soon', 'nans', '48s\n', 48)
        ),
        answer(currentLimit=None, limitRemaining=5),
        answer('OVER_LIMIT', currentLimit=None, limitRemaining=None),
        answer().replace(b'7', b'7' * 10_000),
    ],
    ids=lambda body: repr(body[:90]),
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_absurd(body: bytes) -> None:
    for status in (200, 429):
        assert fault_of(status, body) is Fault.ABSURD


@pytest.mark.parametrize('status', [0, 100, 204, 301, 400, 401, 404, 500, 503])
@pytest.mark.parametrize('body', [answer(), b'<html>\n' * 1000, b'', b'\xff'])
def test_another_status_is_a_refusal_whatever_the_body(status: int, body: bytes) -> None:
    assert fault_of(status, body) is Fault.REFUSED


def outcome(status: int, body: bytes) -> Reply | Fault:
    try:
        return read(status, body, NOW)
    except LimiterError as error:
        return error.fault


def check_any(body: bytes) -> None:
    assert outcome(500, body) is Fault.REFUSED
    for status in (200, 429):
        reply = outcome(status, body)
        if isinstance(reply, Reply):
            assert reply.limit is None or 0 <= reply.remaining <= reply.limit <= MOST
            assert 0 < reply.reset_in <= reply.window
            assert reply.window in UNITS.values()
        else:
            assert reply in (Fault.ABSURD, Fault.UNKNOWN_NAME)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(['OK', 'OVER_LIMIT', 'SECOND', 'DAY', '0s', '5s', '-5s', '1.5s', MOST])
)  # fmt: skip
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@st.composite
def nearly_answers(draw: st.DrawFn) -> Any:
    """An answer with at most one field that is anything."""
    limit = {
        'requestsPerUnit': draw(st.integers(0, 12)),
        'unit': draw(st.sampled_from([*UNITS])),
    }
    status = {
        'currentLimit': limit,
        'limitRemaining': draw(st.integers(0, 12)),
        'durationUntilReset': f'{draw(st.integers(-1, 3600))}s',
    }
    message = {'overallCode': draw(st.sampled_from(['OK', 'OVER_LIMIT'])), 'statuses': [status]}
    if draw(st.booleans()):
        part = draw(st.sampled_from([limit, status, message]))
        part[draw(st.sampled_from([*part]))] = draw(anything)
    return message


@given(anything | nearly_answers())
def test_of_any_json_the_fields_are_sane_or_it_is_an_error(message: Any) -> None:
    check_any(json.dumps(message).encode())


@given(st.binary())
def test_of_any_bytes_the_fields_are_sane_or_it_is_an_error(body: bytes) -> None:
    check_any(body)
