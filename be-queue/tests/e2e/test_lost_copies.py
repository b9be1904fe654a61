"""A worker runs what it sends once, also when SQS does not take the copy for the platform queue."""

from __future__ import annotations

from celery import chain

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.integration.sending import asks_for
from tests.support import faulty
from tests.support.faulty import FaultySqs, Handler
from tests.support.worker import Site


def test_a_copy_that_is_lost_neither_repeats_nor_fails_a_task(
    site: Site, proxy: FaultySqs, sqs: SqsServer
) -> None:
    platform = f'{site.username}-local-platform.fifo'

    def no_copies(handler: Handler) -> None:
        if asks_for(handler, platform):
            faulty.status(403, 'AccessDeniedException')(handler)
        else:
            handler.answer(*handler.forward())

    with site.worker(SQS_ENDPOINT_URL=proxy.url, CELERY_WORKER_CONCURRENCY=1) as server:
        proxy.fail('SendMessage', no_copies)
        producer = site.producer()
        retried = producer.send_task('retry_demo', (2,))
        add = producer.signature('add', (1,))
        last = chain(add.clone((1,)), add)()

        assert retried.get(timeout=60) == 'succeeded at attempt 3'
        assert last.get(timeout=60) == 3
        for name in ('retry_demo', 'add'):
            queue = site.queue(name)
            wait_until(
                lambda queue=queue: sqs.visible(queue) == sqs.in_flight(queue) == 0,
                'every message is deleted',
            )
        assert last.parent.state == 'SUCCESS'
        for name, starts in (('retry_demo', 3), ('add', 2)):
            assert server.metric('worker_tasks_count_total', state='STARTED', name=name) == starts
        assert server.log.count(f'queue {platform} takes no copies') == 1
        assert 'on purpose: check SQS_ENDPOINT_URL' in server.log
        proxy.repair()
        producer.send_task('retry_demo', (2,))
        back = f'queue {platform} takes copies again: lost=3'
        wait_until(lambda: back in server.log, 'the log says that it is over')
