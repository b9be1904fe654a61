"""A message that is delivered twice, with the idempotency guard."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from celery import chain
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.worker import Site, Worker

#: Another delivery waits for 0.3 of this before it goes back to its queue.
SOFT_LIMIT = 5
#: Seconds: a machine that stands still for some of it makes no deliveries of its own.
VISIBILITY_TIMEOUT = 4


@dataclass
class Message:
    """The body of a message on SQS, and the task that it asks for."""

    task_id: str
    queue: str
    body: str


class Duplicates:
    """Delivers messages to one worker, as often as wanted, and says what becomes of them."""

    def __init__(self, site: Site, sqs: SqsServer) -> None:
        self.site = site
        self.worker: Worker | None = None
        self._sqs = sqs
        self._client = sqs.client()
        self._producer = site.producer()
        add, slow = self._producer.signature('add'), self._producer.signature('slow')
        self.killed = self._taken_back('slow', slow.clone((1.2,)))
        self.long = self._taken_back('slow', slow.clone((3,)))
        self.head = self._taken_back('add', chain(add.clone((1, 1)), add.clone((10,))))

    def deliver(self, message: Message, copies: int = 1) -> None:
        """Put copies of a message on its queue."""
        url = self._client.get_queue_url(QueueName=message.queue)['QueueUrl']
        for _ in range(copies):
            self._client.send_message(QueueUrl=url, MessageBody=message.body)

    def result(self, message: Message) -> AsyncResult:
        return self._producer.AsyncResult(message.task_id)

    def logged(self, message: Message, text: str) -> int:
        """Return how many lines of the worker's log have the task's id and ``text``."""
        lines = self.worker.log.splitlines()
        return sum(message.task_id in line and text in line for line in lines)

    def wait_run_once(self, message: Message) -> None:
        """Wait until every copy is deleted; fail unless the task has succeeded once."""
        name = message.queue
        wait_until(lambda: self._sqs.visible(name) + self._sqs.in_flight(name) == 0, 'deleted')
        assert self.logged(message, 'succeeded in') == 1

    def wait_skipped(self, message: Message) -> None:
        """Wait until one copy is skipped, and every copy is deleted."""
        wait_until(lambda: self.logged(message, 'skipped, it is') == 1, 'it is skipped')
        self.wait_run_once(message)

    def _taken_back(self, queue: str, sent: Any) -> Message:
        """Return the message that sends a signature: nobody consumes its queue yet."""
        result = sent.apply_async()
        while result.parent is not None:
            result = result.parent
        name = self.site.queue(queue)
        url = self._client.get_queue_url(QueueName=name)['QueueUrl']
        (received,) = self._client.receive_message(QueueUrl=url, WaitTimeSeconds=5)['Messages']
        self._client.delete_message(QueueUrl=url, ReceiptHandle=received['ReceiptHandle'])
        return Message(result.id, name, received['Body'])


def settings(visibility_timeout: int) -> dict[str, object]:
    return {
        'IDEMPOTENCY_GUARD': True,
        'CELERY_TASK_SOFT_TIME_LIMIT': SOFT_LIMIT,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {
            'wait_time_seconds': 1,
            'visibility_timeout': visibility_timeout,
        },
    }


@contextmanager
def guarded_worker(site: Site, sqs: SqsServer, visibility_timeout: int) -> Iterator[Duplicates]:
    duplicates = Duplicates(site, sqs)
    with site.worker(**settings(visibility_timeout)) as duplicates.worker:
        yield duplicates


@pytest.fixture(scope='module')
def guarded(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Duplicates]:
    site = Site(tmp_path_factory.mktemp('guarded'), sqs.url, postgres.environment)
    with guarded_worker(site, sqs, VISIBILITY_TIMEOUT) as duplicates:
        yield duplicates


def test_a_delivery_after_the_result_is_stored_runs_neither_the_task_nor_the_rest_of_its_chain(
    guarded: Duplicates,
) -> None:
    message = guarded.head
    labels = {'name': 'add', 'queue': message.queue}

    def counted(state: str) -> float:
        return guarded.worker.metric('worker_tasks_count_total', state=state, **labels)

    guarded.deliver(message)
    assert guarded.result(message).get(timeout=30) == 2
    stored = guarded.result(message).date_done
    guarded.deliver(message)
    guarded.wait_skipped(message)
    assert guarded.result(message).date_done == stored
    wait_until(lambda: counted('IGNORED') == 1, 'the skipped one is counted')
    wait_until(lambda: counted('SUCCESS') == 2, 'head and tail are run once')


def test_a_second_delivery_outlives_the_death_of_the_first(guarded: Duplicates) -> None:
    message = guarded.killed
    guarded.deliver(message, copies=2)

    def child() -> int:
        meta = guarded.result(message)._get_task_meta()
        return meta['status'] == 'STARTED' and meta['result']['pid']

    first = wait_until(child, 'the first runs')
    wait_until(lambda: guarded.logged(message, 'received') >= 2, 'the second is there')
    os.kill(first, signal.SIGKILL)
    assert guarded.result(message).get(timeout=30) == 1.2
    guarded.wait_run_once(message)


def test_of_two_at_the_same_time_one_waits_goes_back_and_is_skipped(guarded: Duplicates) -> None:
    message = guarded.long
    guarded.deliver(message, copies=2)
    wait_until(lambda: guarded.logged(message, 'goes back to its queue'), 'handed back')
    guarded.wait_skipped(message)


def test_a_message_that_a_worker_could_not_keep_hidden_is_run_once(
    site: Site, sqs: SqsServer
) -> None:
    # Shorter than the task.
    with guarded_worker(site, sqs, visibility_timeout=2) as first:
        message = first.long
        first.deliver(message)
        wait_until(lambda: first.result(message).state == 'STARTED', 'it runs')
        # Its pool process goes on, but nobody tells SQS so.
        consumer = first.worker.pid_of('celery')
        os.kill(consumer, signal.SIGSTOP)
        with site.worker(**settings(visibility_timeout=2)) as second:
            wait_until(lambda: 'skipped, it is SUCCESS' in second.log, 'the other worker skips it')
            assert 'succeeded in' not in second.log
        os.kill(consumer, signal.SIGCONT)
        first.wait_run_once(message)
