from __future__ import annotations

import json
from typing import Any

import pytest

from be_queue.worker.ratelimit import Fault, LimiterError
from be_queue.worker.ratelimit.service import UNLIMITED, Reply, read


def answer(code: str = 'OK', **status: Any) -> bytes:
    """Return an answer as the service writes it."""
    limit = {'requestsPerUnit': 10, 'unit': 'MINUTE'}
    status = {'code': code, 'currentLimit': limit, 'durationUntilReset': '48s', **status}
    return json.dumps({'overallCode': code, 'statuses': [status]}).encode()


@pytest.mark.parametrize(
    ('status', 'body', 'reply'),
    [
        (200, answer(limitRemaining=7), Reply(True, 10, 7, 60.0)),
        # Numbers that are left out are zero.
        (429, answer('OVER_LIMIT'), Reply(False, 10, 0, 60.0)),
        (429, answer('OVER_LIMIT', currentLimit={'unit': 'HOUR'}), Reply(False, 0, 0, 3600.0)),
        # Some remain after a refusal of many, and the code counts whatever the status.
        (200, answer('OVER_LIMIT', limitRemaining=3), Reply(False, 10, 3, 60.0)),
        (
            200,
            answer(limitRemaining=UNLIMITED, currentLimit=None),
            Reply(True, UNLIMITED, UNLIMITED, 60.0),
        ),
    ],
)
def test_answers(status: int, body: bytes, reply: Reply) -> None:
    assert read(status, body) == reply


@pytest.mark.parametrize(
    ('status', 'body', 'fault'),
    [
        (200, answer(currentLimit=None), Fault.UNKNOWN_NAME),
        *(
            (200, body, Fault.ABSURD)
            for body in (
                b'<html>\n' * 1000, b'', b'\xff\xfe\x00', b'[]',
                b'{"overallCode": "OK", "statuses": []}',
                answer('UNKNOWN'), answer(limitRemaining=-1), answer(currentLimit={'unit': 'x'}),
            )
        ),
        *((status, answer(), Fault.REFUSED) for status in (204, 302, 404, 500)),
    ],
)  # fmt: skip
def test_any_other_answer_is_an_error_in_one_line(status: int, body: bytes, fault: Fault) -> None:
    with pytest.raises(LimiterError) as caught:
        read(status, body)
    assert caught.value.fault is fault
    assert len(str(caught.value)) < 1000
    assert '\n' not in str(caught.value)
