"""Faults while many tasks are sent at once, on a real SQS server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import group

from be_queue import MessageTooLargeError, NotSentError, send_batch
from be_queue.testing.waiting import wait_until
from be_queue.transport import batch
from tests.integration.sending import Site, calls, errors, proxy, server, site
from tests.support.faulty import FaultySqs, Handler

__all__ = ['proxy', 'server', 'site']


def failing(position: int, fault: dict[str, Any], times: int) -> Callable[[Handler], None]:
    """Have SQS fail one message of the first requests, and take the others."""
    left = [times]

    def answer(handler: Handler) -> None:
        if not left[0]:
            handler.answer(*handler.forward())
            return
        left[0] -= 1
        asked = json.loads(handler.body)
        refused = asked['Entries'].pop(min(position, len(asked['Entries']) - 1))
        taken: dict[str, Any] = {'Successful': []}
        if asked['Entries']:
            handler.body = json.dumps(asked).encode()
            handler.headers.replace_header('Content-Length', str(len(handler.body)))
            taken = json.loads(handler.forward()[1])
        taken['Failed'] = [{'Id': refused['Id']} | fault]
        handler.answer(200, json.dumps(taken).encode())

    return answer


def test_what_cannot_be_sent_stops_no_other(site: Site) -> None:
    site.create(site.work, MaximumMessageSize=4096)
    app = site.app()
    signatures = calls(app, 'work', 5)
    signatures[1].args = (object(),)
    signatures[3].args = ('a' * 5000,)

    outcomes = send_batch(app, signatures)

    assert [type(outcome.error).__name__ for outcome in outcomes] == [
        'NoneType',
        'EncodeError',
        'NoneType',
        'MessageTooLargeError',
        'NoneType',
    ]
    assert isinstance(outcomes[3].error, MessageTooLargeError)
    assert [outcome.result is None for outcome in outcomes] == [False, True, False, True, False]
    assert site.args(site.work) == site.args(site.platform) == [[0], [2], [4]]


def test_a_message_that_sqs_fails_is_sent_again(
    site: Site, proxy: FaultySqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, 'FIRST_PAUSE_SECONDS', 0.01)
    fault = {'SenderFault': False, 'Code': 'InternalError', 'Message': 'on purpose'}
    proxy.fail('SendMessageBatch', failing(2, fault, times=3))
    app = site.app(proxy.url, platform=False)

    assert errors(send_batch(app, calls(app, 'work', 6))) == []
    assert sorted(site.args(site.work)) == [[number] for number in range(6)]


@pytest.mark.parametrize(('sender_fault', 'tries'), [(True, 1), (False, batch.ATTEMPTS)])
def test_what_sqs_does_not_take_is_an_error_with_its_reason(
    site: Site,
    proxy: FaultySqs,
    monkeypatch: pytest.MonkeyPatch,
    sender_fault: bool,
    tries: int,
) -> None:
    monkeypatch.setattr(batch, 'FIRST_PAUSE_SECONDS', 0.01)
    fault = {'SenderFault': sender_fault, 'Code': 'InvalidMessage', 'Message': 'on purpose'}
    proxy.fail('SendMessageBatch', failing(1, fault, times=tries))
    app = site.app(proxy.url, platform=False)

    outcomes = send_batch(app, calls(app, 'work', 3))

    (error,) = errors(outcomes)
    assert error is outcomes[1].error
    assert isinstance(error, NotSentError)
    assert error.failed == {site.work: 'InvalidMessage: on purpose'}
    assert outcomes[1].result is not None
    assert error.task_id == outcomes[1].result.id
    assert proxy.requests['SendMessageBatch'] == tries
    assert site.args(site.work) == [[0], [2]]


def test_a_stop_of_the_sender_is_raised(site: Site) -> None:
    app = site.app(platform=False)

    def route(name: str, args: Any, *_: Any, **__: Any) -> dict[str, str]:
        if args == (15,):
            raise SoftTimeLimitExceeded
        return {'queue': site.work}

    app.conf.task_routes = [route]
    with pytest.raises(SoftTimeLimitExceeded):
        send_batch(app, calls(app, 'work', 20))
    app.send_task('work', ('later',))

    wait_until(lambda: not lanes(), 'the threads have ended')
    assert ['later'] in site.args(site.work)


def lanes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == 'send-batch']


def test_a_group_that_cannot_be_sent_whole_is_not_sent_in_part(site: Site) -> None:
    app = site.app(platform=False)
    good, bad = app.signature('work', (1,)), app.signature('work', (object(),))

    outcomes = send_batch(app, [group([good, bad], app=app), good])

    assert len(errors(outcomes)) == 1
    assert site.args(site.work) == [[1]]
