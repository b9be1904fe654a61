"""Order and identity of what a producer sends to FIFO queues, on a real SQS server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.sending import Site, asked, first, proxy, server, site
from tests.support.faulty import FaultySqs, answer_lost, reset, status

__all__ = ['proxy', 'server', 'site']


@pytest.mark.parametrize(
    'fault',
    [
        first(2, status(503, 'ServiceUnavailable')),
        first(1, status(400, 'RequestThrottled')),
        first(1, reset),
        first(1, answer_lost),
    ],
    ids=['unavailable twice', 'throttled', 'reset', 'answer lost'],
)
def test_a_request_that_is_sent_again_is_one_message_on_a_fifo_queue(
    site: Site, proxy: FaultySqs, fault: Any
) -> None:
    proxy.fail('SendMessage', fault)

    site.app(proxy.url).send_task('ordered', (1,))

    assert proxy.requests['SendMessage'] >= 4
    assert site.args(site.fifo) == site.args(site.platform) == [[1]]


def test_what_differs_under_one_id_is_taken_and_the_same_call_only_once(site: Site) -> None:
    app = site.app(platform=False)
    call = {'task_id': 'the-id', 'exchange': 'task_exchange', 'routing_key': site.fifo}
    app.send_task('ordered', (1,), **call)
    app.send_task('ordered', (1,), **call)
    app.send_task('ordered', (1,), retries=1, countdown=1, **call)
    app.send_task('ordered', (1,), retries=1, countdown=2, **call)
    app.send_task('ordered', (2,), **call)
    app.send_task('other', (1,), **call)
    app.send_task('ordered', (1,), replaced_task_nesting=1, **call)
    app.send_task('ordered', (1,), MessageDeduplicationId='on purpose', **call)

    assert len(site.messages(site.fifo)) == 6


def test_groups_are_by_task_on_its_queue_and_by_id_on_the_platform_queue(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy)

    site.app(proxy.url).send_task('ordered', task_id='the-id')
    site.app(proxy.url).send_task('work', task_id='é' * 200)
    site.app(proxy.url).send_task('ordered', MessageGroupId='mine', MessageDeduplicationId='once')
    site.app(proxy.url).send_task('work', MessageGroupId='tenant')

    named, mine = sent.of(site.fifo)
    assert named['MessageGroupId'] == 'ordered'
    assert named['MessageDeduplicationId'].startswith('the-id:0:')
    assert (mine['MessageGroupId'], mine['MessageDeduplicationId']) == ('mine', 'once')
    by_id, hashed, mine, tenant = sent.of(site.platform)
    assert by_id['MessageGroupId'] == 'the-id'
    assert hashed['MessageGroupId'].isalnum()
    assert (mine['MessageGroupId'], mine['MessageDeduplicationId']) == ('mine', 'once')
    assert tenant['MessageGroupId'] == 'tenant'
    plain, fair = sent.of(site.work)
    assert 'MessageGroupId' not in plain
    assert fair['MessageGroupId'] == 'tenant'
    assert 'MessageDeduplicationId' not in fair
