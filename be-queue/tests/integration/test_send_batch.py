"""Many tasks at once, on a real SQS server."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, chain, chord, group
from kombu.exceptions import OperationalError

from be_queue import MessageTooLargeError, NotSentError, send_batch
from be_queue.testing.waiting import wait_until
from be_queue.transport import batch
from be_queue.transport.batch import MAX_FAILURES, MAX_IN_FLIGHT
from tests.integration.sending import (
    Site,
    asked,
    before_each_publish,
    calls,
    errors,
    first,
    forward,
    only,
    proxy,
    server,
    site,
    tries,
)
from tests.support.faulty import Fault, FaultySqs, Handler, reset, slow

__all__ = ['proxy', 'server', 'site']


def failing(position: int, fault: dict[str, Any], times: int) -> Fault:
    """Have SQS fail one message of the first requests, and take the others."""
    left = [times]

    def answer(handler: Handler) -> None:
        if not left[0]:
            forward(handler)
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


def test_each_signature_has_its_outcome_and_ten_go_in_a_request(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy, 'SendMessageBatch')
    app = site.app(proxy.url)

    outcomes = send_batch(app, iter(calls(app, 'work', 25)))

    assert errors(outcomes) == []
    for queue in (site.work, site.platform):
        assert sorted(len(request['Entries']) for request in sent.of(queue)) == [5, 10, 10]
        envelopes = [json.loads(message['Body']) for message in site.messages(queue)]
        assert {e['headers']['id']: json.loads(e['body'])[0] for e in envelopes} == {
            outcome.result and outcome.result.id: [n] for n, outcome in enumerate(outcomes)
        }
    assert proxy.requests['SendMessage'] == 0


def test_a_request_holds_no_more_bytes_than_sqs_takes(site: Site, proxy: FaultySqs) -> None:
    sent = asked(proxy, 'SendMessageBatch')
    app = site.app(proxy.url, platform=False)

    outcomes = send_batch(app, [app.signature('work', ('a' * 100_000,)) for _ in range(5)])

    assert errors(outcomes) == []
    assert sorted(len(request['Entries']) for request in sent.requests) == [1, 2, 2]
    assert len(site.messages(site.work)) == 5


def test_several_requests_are_in_flight(site: Site, proxy: FaultySqs) -> None:
    four = threading.Barrier(4, timeout=10)

    def together(handler: Handler) -> None:
        four.wait()  # breaks, and with it the request, when the others do not come
        forward(handler)

    proxy.fail('SendMessageBatch', together)
    app = site.app(proxy.url, platform=False)

    assert errors(send_batch(app, calls(app, 'work', 40))) == []


def test_a_fifo_queue_keeps_the_order(site: Site, proxy: FaultySqs) -> None:
    proxy.fail('SendMessageBatch', first(1, slow(0.5)))  # a request that does not wait overtakes it
    app = site.app(proxy.url)

    assert errors(send_batch(app, calls(app, 'ordered', 35))) == []

    assert site.args(site.fifo) == [[number] for number in range(35)]
    assert sorted(site.args(site.platform)) == [[number] for number in range(35)]


def test_it_goes_the_way_of_apply_async(site: Site, proxy: FaultySqs) -> None:
    sent = asked(proxy, 'SendMessageBatch')
    app = site.app(proxy.url, platform=False)
    seen: list[str] = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        seen.append(sender)
        headers['mark'] = 'seen'

    call = app.signature('work', (1,), link=app.signature('work', (2,)), countdown=100)
    with before_each_publish(before):
        assert errors(send_batch(app, [call])) == []

    ((entry,),) = (request['Entries'] for request in sent.requests)
    envelope = json.loads(entry['MessageBody'])
    assert 60 < entry['DelaySeconds'] <= 100
    assert envelope['headers']['mark'] == 'seen'
    assert json.loads(envelope['body'])[2]['callbacks'][0]['args'] == [2]
    assert seen == ['work']


def test_chains_groups_and_chords_are_sent_as_by_apply_async_and_never_in_part(site: Site) -> None:
    app = site.app(platform=False, result_backend='cache+memory://')

    def call(*numbers: Any) -> list[Any]:
        return [app.signature('work', (number,), immutable=True) for number in numbers]

    unsound = group(call(8, object()), app=app)
    batch = [chain(call(1, 2), app=app), group(call(3, 4), app=app), chord(call(5, 6), *call(7))]
    outcomes = send_batch(app, [unsound, *batch])

    assert [outcome.error is None for outcome in outcomes] == [False, True, True, True]
    assert sorted(site.args(site.work)) == [[1], [3], [4], [5], [6]]
    assert len(outcomes[2].result.results) == 2


def test_another_transport_sends_them_one_by_one() -> None:
    app = Celery('other', broker='memory://', backend='disabled://', set_as_current=False)
    # Queues in memory are the process's.
    app.conf.task_default_queue = 'of this test alone'
    signatures = calls(app, 'work', 3)
    signatures[1].args = (object(),)

    outcomes = send_batch(app, signatures)

    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    with app.connection_for_read() as connection:
        assert connection.default_channel._size('of this test alone') == 2


def test_a_message_that_cannot_be_sent_stops_no_other(site: Site) -> None:
    site.create(site.work, MaximumMessageSize=4096)
    app = site.app()
    signatures = calls(app, 'work', 5)
    signatures[1].args = (object(),)
    signatures[3].args = ('a' * 5000,)

    outcomes = send_batch(app, signatures)

    failed = {n: type(each.error).__name__ for n, each in enumerate(outcomes) if each.error}
    assert failed == {1: 'EncodeError', 3: MessageTooLargeError.__name__}
    assert [n for n, outcome in enumerate(outcomes) if outcome.result is None] == [1, 3]
    assert site.args(site.work) == site.args(site.platform) == [[0], [2], [4]]


@pytest.mark.parametrize(
    ('sender_fault', 'refusals', 'requests', 'is_sent'),
    [(False, 3, 4, True), (True, 1, 1, False), (False, batch.ATTEMPTS, batch.ATTEMPTS, False)],
    ids=['taken in the end', 'never', 'not in time'],
)
def test_a_message_that_sqs_fails_is_sent_again_unless_the_fault_is_the_senders(
    site: Site,
    proxy: FaultySqs,
    monkeypatch: pytest.MonkeyPatch,
    sender_fault: bool,
    refusals: int,
    requests: int,
    is_sent: bool,
) -> None:
    monkeypatch.setattr(batch, 'FIRST_PAUSE_SECONDS', 0.01)
    fault = {'SenderFault': sender_fault, 'Code': 'InvalidMessage', 'Message': 'on purpose'}
    proxy.fail('SendMessageBatch', failing(1, fault, times=refusals))
    app = site.app(proxy.url, platform=False)

    outcomes = send_batch(app, calls(app, 'work', 3))

    assert proxy.requests['SendMessageBatch'] == requests
    assert sorted(site.args(site.work)) == ([[0], [1], [2]] if is_sent else [[0], [2]])
    error = outcomes[1].error
    assert errors(outcomes) == ([] if is_sent else [error])
    if not is_sent:
        assert isinstance(error, NotSentError)
        assert error.failed == {site.work: 'InvalidMessage: on purpose'}
        assert outcomes[1].result is not None
        assert error.task_id == outcomes[1].result.id


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

    wait_until(
        lambda: all(thread.name != 'send-batch' for thread in threading.enumerate()),
        'the threads have ended',
    )
    assert ['later'] in site.args(site.work)


def test_a_batch_gives_up_when_sqs_is_lost_on_the_way(site: Site, proxy: FaultySqs) -> None:
    app = site.app(proxy.url, platform=False, broker_transport_options=tries(1))
    assert errors(send_batch(app, calls(app, 'work', 1))) == []
    before = proxy.requests['SendMessageBatch']
    proxy.fail('SendMessageBatch', reset)
    tried: list[int] = []

    def count(**_: Any) -> None:
        tried.append(1)

    with before_each_publish(count):
        outcomes = send_batch(app, calls(app, 'work', 1000))

    assert len(errors(outcomes)) == 1000
    # So many may be in flight when the third fails.
    assert proxy.requests['SendMessageBatch'] - before <= MAX_FAILURES + MAX_IN_FLIGHT
    assert isinstance(outcomes[0].error, NotSentError)
    assert isinstance(outcomes[-1].error, OperationalError)
    assert outcomes[-1].result is None
    assert len(tried) < 1000


def test_a_server_that_is_lost_keeps_nothing_from_another(site: Site, proxy: FaultySqs) -> None:
    copies: list[int] = []

    def lost(handler: Handler) -> None:
        copies.append(1)
        reset(handler)

    proxy.fail('SendMessageBatch', only(site.platform, lost))
    # Each has a client of its own.
    predefined = {queue: {'url': site.create(queue)} for queue in (site.work, site.platform)}
    app = site.app(proxy.url, broker_transport_options=tries(1) | {'predefined_queues': predefined})

    outcomes = send_batch(app, calls(app, 'work', 300))

    assert len(site.messages(site.work)) == 300
    assert len(copies) <= MAX_FAILURES + MAX_IN_FLIGHT
    for error in errors(outcomes):
        assert isinstance(error, NotSentError)
        assert (list(error.sent), list(error.failed)) == ([site.work], [site.platform])
