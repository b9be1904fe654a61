"""A sender's errors and attempts while SQS is unavailable."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from kombu.exceptions import OperationalError

from be_queue import NotSentError, send_batch
from be_queue.transport.batch import LANES
from be_queue.transport.circuit_breaker import MAX_FAILURES
from tests.integration.sending import (
    Site,
    before_each_publish,
    calls,
    errors,
    only,
    proxy,
    server,
    site,
)
from tests.support.faulty import FaultySqs, Handler, answer_lost, reset

__all__ = ['proxy', 'server', 'site']


def tries(number: int) -> dict[str, Any]:
    """Have boto3 try each request so often."""
    return {'client-config': {'retries': {'total_max_attempts': number}}}


def test_a_message_is_tried_as_often_as_boto3_tries_it(site: Site, proxy: FaultySqs) -> None:
    app = site.app(proxy.url, broker_transport_options=tries(2))
    app.send_task('work', (1,))
    before = proxy.requests['SendMessage']
    proxy.fail('SendMessage', answer_lost)

    with pytest.raises(OperationalError) as error:
        app.send_task('work', (2,))

    assert isinstance(error.value.__cause__, BotoCoreError)
    assert proxy.requests['SendMessage'] - before == 2 * 2  # two queues
    assert sorted(site.args(site.work)) == [[1], [2], [2]]


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
    # Each lane may have one in flight when the third fails.
    assert proxy.requests['SendMessageBatch'] - before <= MAX_FAILURES + LANES
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
    assert len(copies) <= MAX_FAILURES + LANES
    for error in errors(outcomes):
        assert isinstance(error, NotSentError)
        assert (list(error.sent), list(error.failed)) == ([site.work], [site.platform])
