"""A message that is delivered twice, with the idempotency guard."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery, chain
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.worker import Server, Site

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
        self.producer: Celery = site.producer()
        self._sqs = sqs
        self._client = sqs.client()
        add, slow = self.producer.signature('add'), self.producer.signature('slow')
        head = chain(add.clone((1, 1)), add.clone((10,)))
        self.at_once = self._taken_back('slow', slow.clone((0.5,)))
        self.stored = self._taken_back('add', add.clone((2, 3)))
        self.killed = self._taken_back('slow', slow.clone((1.2,)))
        self.long = self._taken_back('slow', slow.clone((3,)))
        self.head = self._taken_back('add', head)
        self.server: Server | None = None

    def deliver(self, message: Message, copies: int = 1) -> None:
        """Put copies of a message on its queue."""
        url = self._client.get_queue_url(QueueName=message.queue)['QueueUrl']
        for _ in range(copies):
            self._client.send_message(QueueUrl=url, MessageBody=message.body)

    def result(self, message: Message) -> AsyncResult:
        return self.producer.AsyncResult(message.task_id)

    def logged(self, message: Message, text: str) -> int:
        """Return how many lines of the worker's log have the task's id and ``text``."""
        return sum(
            message.task_id in line and text in line for line in self.server.log.splitlines()
        )

    def runs(self, message: Message) -> int:
        """Return how often the task has succeeded."""
        return self.logged(message, 'succeeded in')

    def wait_skipped(self, message: Message) -> None:
        """Wait until one copy is skipped, and every copy is deleted."""
        wait_until(lambda: self.logged(message, 'skipped, it is') == 1, 'it is skipped')
        self.wait_settled(message)

    def wait_settled(self, message: Message) -> None:
        """Wait until every copy is deleted."""
        name = message.queue
        wait_until(lambda: self._sqs.visible(name) + self._sqs.in_flight(name) == 0, 'deleted')

    def _taken_back(self, queue: str, sent: chain) -> Message:
        """Return the message that sends a signature: nobody consumes its queue yet."""
        result = sent.apply_async()
        while result.parent is not None:
            result = result.parent
        name = self.site.queue(queue)
        url = self._client.get_queue_url(QueueName=name)['QueueUrl']
        (received,) = self._client.receive_message(QueueUrl=url, WaitTimeSeconds=5)['Messages']
        self._client.delete_message(QueueUrl=url, ReceiptHandle=received['ReceiptHandle'])
        return Message(result.id, name, received['Body'])


@contextmanager
def worker(
    folder: Path,
    sqs: SqsServer,
    postgres: PostgresServer,
    visibility_timeout: int = VISIBILITY_TIMEOUT,
) -> Iterator[Duplicates]:
    duplicates = Duplicates(Site(folder, sqs.url, postgres.environment), sqs)
    with duplicates.site.worker(**settings(visibility_timeout)) as duplicates.server:
        yield duplicates


def settings(visibility_timeout: int) -> dict[str, object]:
    return {
        'IDEMPOTENCY_GUARD': True,
        'CELERY_TASK_SOFT_TIME_LIMIT': SOFT_LIMIT,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {
            'wait_time_seconds': 1,
            'visibility_timeout': visibility_timeout,
        },
    }


@pytest.fixture(scope='module')
def guarded(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Duplicates]:
    with worker(tmp_path_factory.mktemp('guarded'), sqs, postgres) as duplicates:
        yield duplicates


def test_two_deliveries_at_the_same_time_are_run_once(guarded: Duplicates) -> None:
    message = guarded.at_once
    guarded.deliver(message, copies=2)
    assert guarded.result(message).get(timeout=30) == 0.5
    guarded.wait_skipped(message)
    # On a slow machine the second goes back to its queue, and comes again.
    assert guarded.logged(message, 'received') >= 2
    assert guarded.runs(message) == 1


def test_a_delivery_after_the_result_is_stored_is_not_run(guarded: Duplicates) -> None:
    message = guarded.stored
    guarded.deliver(message)
    assert guarded.result(message).get(timeout=30) == 5
    stored = guarded.result(message).date_done
    label = {'name': 'add', 'queue': message.queue}
    skipped = guarded.server.metric('worker_tasks_count_total', state='IGNORED', **label)
    guarded.deliver(message)
    guarded.wait_skipped(message)
    assert guarded.runs(message) == 1
    assert guarded.result(message).date_done == stored
    wait_until(
        lambda: (
            guarded.server.metric('worker_tasks_count_total', state='IGNORED', **label)
            == skipped + 1
        ),
        'the skipped one is counted',
    )


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
    guarded.wait_settled(message)
    assert guarded.runs(message) == 1


def test_a_delivery_that_waits_long_goes_back_and_is_not_lost(guarded: Duplicates) -> None:
    message = guarded.long
    guarded.deliver(message, copies=2)
    wait_until(lambda: guarded.logged(message, 'goes back to its queue'), 'handed back')
    guarded.wait_skipped(message)
    assert guarded.runs(message) == 1


def test_a_skipped_delivery_does_not_send_the_rest_of_its_chain_again(guarded: Duplicates) -> None:
    message = guarded.head
    count = 'worker_tasks_count_total'
    label = {'name': 'add', 'queue': message.queue}
    before = guarded.server.metric(count, state='SUCCESS', **label)
    guarded.deliver(message)
    assert guarded.result(message).get(timeout=30) == 2
    guarded.deliver(message)
    guarded.wait_skipped(message)
    wait_until(
        lambda: guarded.server.metric(count, state='SUCCESS', **label) == before + 2,
        'head and tail are run once',
    )


def test_a_message_that_a_worker_could_not_keep_hidden_is_run_once(
    tmp_path: Path, sqs: SqsServer, postgres: PostgresServer
) -> None:
    # Shorter than the task.
    with worker(tmp_path, sqs, postgres, visibility_timeout=2) as first:
        message = first.long
        first.deliver(message)
        wait_until(lambda: first.result(message).state == 'STARTED', 'it runs')
        # Its pool process goes on, but nobody tells SQS so.
        consumer = first.server.pid_of('celery')
        os.kill(consumer, signal.SIGSTOP)
        with first.site.worker(**settings(visibility_timeout=2)) as second:
            wait_until(lambda: 'skipped, it is SUCCESS' in second.log, 'the other worker skips it')
            assert 'succeeded in' not in second.log
        os.kill(consumer, signal.SIGCONT)
        first.wait_settled(message)
        assert first.runs(message) == 1
