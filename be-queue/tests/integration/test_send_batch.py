"""Many tasks at once, on a real SQS server."""

from __future__ import annotations

import json
import threading
from typing import Any

from celery import Celery, chain, chord, group

from be_queue import send_batch
from tests.integration.sending import (
    Site,
    asked,
    before_each_publish,
    calls,
    errors,
    proxy,
    server,
    site,
)
from tests.support.faulty import FaultySqs, Handler

__all__ = ['proxy', 'server', 'site']


def test_each_signature_has_its_outcome_and_ten_go_in_a_request(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy, 'SendMessageBatch')
    app = site.app(proxy.url)

    outcomes = send_batch(app, iter(calls(app, 'work', 25)))

    assert errors(outcomes) == []
    for queue in (site.work, site.platform):
        assert [len(request['Entries']) for request in sent.of(queue)].count(10) == 2
        assert len(sent.of(queue)) == 3
        tasks = {}
        for message in site.messages(queue):
            envelope = json.loads(message['Body'])
            tasks[envelope['headers']['id']] = json.loads(envelope['body'])[0]
        assert tasks == {
            outcome.result and outcome.result.id: [number]
            for number, outcome in enumerate(outcomes)
        }
    assert proxy.requests['SendMessage'] == 0


def test_a_request_holds_no_more_bytes_than_sqs_takes(site: Site, proxy: FaultySqs) -> None:
    site.create(site.work, MaximumMessageSize=256 * 1024)
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
        handler.answer(*handler.forward())

    proxy.fail('SendMessageBatch', together)
    app = site.app(proxy.url, platform=False)

    assert errors(send_batch(app, calls(app, 'work', 40))) == []


def test_a_fifo_queue_keeps_the_order(site: Site) -> None:
    app = site.app()

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


def test_chains_groups_and_chords_are_sent_as_by_apply_async(site: Site) -> None:
    app = site.app(platform=False, result_backend='cache+memory://')

    def call(*numbers: int) -> list[Any]:
        return [app.signature('work', (number,), immutable=True) for number in numbers]

    outcomes = send_batch(
        app, [chain(call(1, 2), app=app), group(call(3, 4), app=app), chord(call(5, 6), *call(7))]
    )

    assert errors(outcomes) == []
    assert sorted(site.args(site.work)) == [[1], [3], [4], [5], [6]]
    assert len(outcomes[1].result.results) == 2


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
