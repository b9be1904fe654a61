"""What a real worker holds, seen from SQS."""

from __future__ import annotations

from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Site


def test_a_busy_worker_leaves_long_tasks_to_an_idle_one(site: Site, sqs: SqsServer) -> None:
    name = site.queue('slow')
    producer = site.producer()
    with site.server(CELERY_WORKER_CONCURRENCY=2) as first:
        results = [producer.send_task('slow', (2,)) for _ in range(8)]
        wait_until(
            lambda: (sqs.in_flight(name), sqs.visible(name)) == (2, 6),
            'each child has a task and the others wait on SQS',
        )
        with site.server(CELERY_WORKER_CONCURRENCY=2) as second:
            for result in results:
                assert result.get(timeout=60) == 2
            ran = [s.metric('worker_tasks_count_total', state='SUCCESS') for s in (first, second)]
    assert min(ran) >= 2, ran
