"""Tasks that an operator revokes while they wait, with a real worker."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from celery import Celery, chord, states
from celery.exceptions import ChordError, TaskRevokedError

from be_queue import operations
from be_queue.dead_letter_queue import OperationError
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import app_tasks
from tests.support.worker import Site, Worker


@pytest.fixture
def producer(site: Site) -> Celery:
    return site.producer()


def actions(worker: Worker) -> Counter[tuple[str, str]]:
    """Count the lines of each task and action in the worker's log."""
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith('{')]
    return Counter((line.get('task_id', ''), line.get('action', '')) for line in lines)


def test_a_revoked_task_is_skipped_and_its_chord_fails(
    site: Site, producer: Celery, sqs: SqsServer
) -> None:
    add = producer.signature('add')
    alone, other = add.clone((1, 1)).apply_async(), add.clone((2, 2)).apply_async()
    body = chord([add.clone((3, 3)), add.clone((4, 4))])(producer.signature('add', (5,)))
    member = body.parent.results[1]
    for task in (alone, member):
        operations.revoke(producer, task.id)
    operations.revoke(producer, alone.id)  # once more
    with site.worker(LOG_FORMAT='json', **app_tasks.IMPORTS) as worker:
        later, running = producer.send_task(app_tasks.RETRIED_LATER), producer.send_task('slow')
        wait_until(lambda: later.state == states.RETRY, 'the task waits for its retry')
        operations.revoke(producer, later.id)
        wait_until(lambda: running.state == states.STARTED, 'the task runs')
        with pytest.raises(OperationError, match='does not wait: its state is STARTED'):
            operations.revoke(producer, running.id)

        assert other.get(timeout=60) == 4
        with pytest.raises(OperationError, match='does not wait: its state is SUCCESS'):
            operations.revoke(producer, other.id)
        wait_until(lambda: isinstance(body.result, ChordError), 'the chord fails')
        assert running.get(timeout=60) == 5
        revoked = (alone, member, later)
        wait_until(
            lambda: all(actions(worker)[task.id, 'revoked'] for task in revoked),
            'the messages of the revoked tasks are skipped',
        )
        for task in revoked:
            with pytest.raises(TaskRevokedError):
                task.get(timeout=1)
            assert actions(worker)[task.id, 'revoked'] == 1
            assert actions(worker)[task.id, 'succeeded'] == 0
        assert actions(worker)[later.id, 'retried'] == 1
        assert (alone.name, alone.args) == ('add', [1, 1])  # of the message
        names = [site.queue('add'), site.queue('slow')]
        wait_until(
            lambda: not any(sqs.visible(name) + sqs.in_flight(name) for name in names),
            'every message is deleted',
        )
        for metric in ('worker_tasks_count_total', 'tasks_finished_total'):
            assert worker.metric(metric, state='REVOKED') == 3


def test_revoke_says_when_workers_could_not_know(producer: Celery) -> None:
    producer.conf.task_ignore_result = True
    with pytest.raises(OperationError, match='unset task_ignore_result'):
        operations.revoke(producer, '1')
    producer = Celery(backend='cache+memory://', set_as_current=False)
    with pytest.raises(OperationError, match='needs results in PostgreSQL or SQLite'):
        operations.revoke(producer, '1')
