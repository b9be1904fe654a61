"""Metrics of a worker whose processes run one task each."""

from __future__ import annotations

from pathlib import Path

from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

TASKS = 8


def counts(server: Server) -> tuple[float, ...]:
    return (
        server.metric('worker_tasks_count_total', state='SUCCESS'),
        server.metric('tasks_runtime_seconds_count'),
        server.metric('tasks_runtime_seconds_sum'),
    )


def test_nothing_that_a_recycled_process_has_counted_is_lost(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    recycling = {'CELERY_WORKER_MAX_TASKS_PER_CHILD': 1, 'PROMETHEUS_MULTIPROC_DIR': folder}
    with site.server(**recycling) as server:
        producer = site.producer()
        with producer.connection_for_write() as connection:
            for n in range(TASKS):
                producer.send_task('add', (n, n), connection=connection)
        last = (0.0, 0.0, 0.0)

        def all_counted() -> bool:
            nonlocal last
            now = counts(server)
            assert all(new >= old for new, old in zip(now, last, strict=True))
            last = now
            return now[:2] == (TASKS, TASKS)

        wait_until(all_counted, 'all tasks are counted', timeout=60)
        slots = [path.stem for path in folder.glob('counter_*.db') if '-' in path.stem]
        assert len(slots) <= 2
        assert server.metric('build_info') == 1


def test_messages_in_the_queues_are_metrics(site: Site, sqs: SqsServer) -> None:
    with site.server(QUEUE_DEPTH_INTERVAL='0.2') as server:
        client = sqs.client()
        dead = f'err-{site.queue("add")}'
        url = client.get_queue_url(QueueName=dead)['QueueUrl']
        client.send_message(QueueUrl=url, MessageBody='x')
        result = site.producer().send_task('slow', (600,))
        wait_until(lambda: result.state == 'STARTED', 'a task runs')
        site.producer().send_task('add', (1, 2), countdown=600)
        seen = {
            'in flight': ('queue_messages', {'queue': site.queue('slow'), 'state': 'in flight'}),
            'delayed': ('queue_messages', {'queue': site.queue('add'), 'state': 'delayed'}),
            'dead': ('queue_dead_letters', {'queue': site.queue('add')}),
        }
        for what, (name, labels) in seen.items():
            wait_until(lambda n=name, ls=labels: server.metric(n, **ls) == 1, f'{what} is seen')
        assert server.metric('queue_depth_errors_total') == 0
