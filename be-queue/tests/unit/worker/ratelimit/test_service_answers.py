from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from be_queue.worker.ratelimit.limiter import Fault, LimiterError
from be_queue.worker.ratelimit.service import MOST, UNITS, Reply, read

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


@pytest.mark.parametrize(
    ('status', 'body', 'reply'),
    [
        (200, answer(), Reply(True, 10, 7, 47.75, 60.0)),
        (429, answer('OVER_LIMIT', limitRemaining=None), Reply(False, 10, 0, 47.75, 60.0)),
        # Some remain after a refusal of many, and the code counts whatever the status.
        (200, answer('OVER_LIMIT', limitRemaining=3), Reply(False, 10, 3, 47.75, 60.0)),
        # Numbers that are left out are zero.
        (
            429,
            answer('OVER_LIMIT', limitRemaining=None, currentLimit={'unit': 'HOUR'}),
            Reply(False, 0, 0, 47.75, 3600.0),
        ),
        (
            200,
            answer(limitRemaining=MOST, currentLimit=None, durationUntilReset=None),
            Reply(True, None, MOST, 60.0, 60.0),
        ),
    ],
)
def test_answers(status: int, body: bytes, reply: Reply) -> None:
    assert read(status, body, NOW) == reply


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
        b'<html>It works</html>', b'', b'\xff\xfe\x00', b'[]', b'[' * 100_000 + b']' * 100_000,
        b'{"overallCode": "OK", "statuses": []}',
        b'{"overallCode": "OK", "statuses": [{"code": "OK"}, {"code": "OK"}]}',
        answer('UNKNOWN'), answer('x' * 100_000),
        *(answer(limitRemaining=value) for value in (-1, 11, 7.5, '7', True, 'x' * 10**5)),
        *(
            answer(currentLimit=limit)
            for limit in ({}, 'MINUTE', {'unit': 'minute'}, {'requestsPerUnit': -1, 'unit': 'DAY'})
        ),
        *(answer(durationUntilReset=text) for text in ('-1s', '61s', '9' * 400 + 's', '48s\n', 48)),
        answer(currentLimit=None, limitRemaining=5),
        answer('OVER_LIMIT', currentLimit=None, limitRemaining=None),
    ],
    ids=lambda body: repr(body[:90]),
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_absurd(body: bytes) -> None:
    for status in (200, 429):
        assert fault_of(status, body) is Fault.ABSURD


@pytest.mark.parametrize('body', [answer(), b'<html>\n' * 1000, b'', b'\xff'])
def test_another_status_is_a_refusal_whatever_the_body(body: bytes) -> None:
    for status in (0, 204, 301, 404, 500):
        assert fault_of(status, body) is Fault.REFUSED


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


@given(st.binary() | (anything | nearly_answers()).map(lambda value: json.dumps(value).encode()))
def test_of_any_answer_the_fields_are_sane_or_it_is_an_error(body: bytes) -> None:
    for status in (200, 429):
        try:
            reply = read(status, body, NOW)
        except LimiterError:
            continue
        assert reply.limit is None or 0 <= reply.remaining <= reply.limit <= MOST
        assert 0 < reply.reset_in <= reply.window
        assert reply.window in UNITS.values()
