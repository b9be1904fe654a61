"""Receives the platform queue's messages, commits their rows, then deletes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
from celery import Celery
from kombu.mixins import ConsumerMixin
from sqlalchemy.exc import SQLAlchemyError

from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, Outage
from be_queue.worker.monitor.messages import NotATaskError, accept_broken_messages, task_row
from be_queue.worker.monitor.table import TaskTable

__all__ = ['Monitor', 'connection_of']

logger = logging.getLogger(__name__)

#: A receive waits for a message so long. It is never broken off, since SQS would hide what it was
#: about to answer: a stop takes up to two of them.
POLL_SECONDS = 1
#: Messages of one receive, at most 10 on SQS, and rows of one commit.
BATCH = 10
#: While it waits to try again, the monitor looks so often whether it is to stop.
STEP_SECONDS = 0.1
#: Characters of a broken message in the log.
SHOWN = 500


def connection_of(celery_app: Celery) -> kombu.Connection:
    """Return a connection to the app's broker with the options that the monitor needs."""
    client = celery_app.conf.broker_transport_options.get('client-config') or {}
    options = {
        'fetch_message_attributes': ['SentTimestamp'],
        'wait_time_seconds': POLL_SECONDS,
        # The monitor tries again itself, and a stop waits for none of boto3's retries.
        'client-config': client
        | {
            'connect_timeout': 2,
            'read_timeout': POLL_SECONDS + 3,
            'retries': {'total_max_attempts': 1},
        },
    }
    return celery_app.connection_for_read(transport_options=options)


class Monitor(ConsumerMixin):
    """Consumes the platform queue into the table of tasks until ``should_stop`` is set.

    Arguments:
        connection: to the broker.
        queue: the platform queue.
        table: where the rows go.
    """

    connect_max_retries = 0  # the retries are those of run()

    def __init__(self, connection: kombu.Connection, queue: kombu.Queue, table: TaskTable) -> None:
        self.connection = connection
        self._queue = queue
        self._table = table
        self._batch: list[kombu.Message] = []
        self._broker = Outage('the broker', hint=CHECK_SQS)
        self._database = Outage('the result database', hint=CHECK_RESULT_DB)

    def get_consumers(self, consumer: Callable[..., Any], channel: Any) -> list[kombu.Consumer]:
        accept_broken_messages(channel)
        take = self._batch.append
        return [consumer(self._queue, on_message=take, prefetch_count=BATCH)]

    def on_decode_error(self, message: kombu.Message, exc: Exception) -> None:
        self._batch.append(message)

    def run(self) -> None:
        """Consume until told to stop, however often the broker is unavailable."""
        # kombu's would log a traceback at each try, and wait for it after a stop.
        while not self.should_stop:
            try:
                self._consume()
            except Exception as error:  # noqa: BLE001  (each transport raises its own)
                self._pause(self._broker.failed(error))

    def _consume(self) -> None:
        # kombu has made visible again what an earlier connection left.
        self._batch.clear()
        with self.consumer_context() as (connection, *_):
            while not self.should_stop:
                with suppress(TimeoutError):  # nothing came
                    connection.drain_events(timeout=POLL_SECONDS)
                self._store()
                self._batch.clear()
                self._broker.ended()

    def _store(self) -> None:
        rows, tasks = [], []
        for message in self._batch:
            try:
                rows.append(task_row(message))
                tasks.append(message)
            except NotATaskError as error:
                text = repr(message.body or message.headers)
                logger.error(
                    'rejected a message that is not a task: fault=%s message=%s; find out who '
                    'sends it: only Celery producers with task_protocol=2 may send to the '
                    'platform queue',
                    error,
                    text if len(text) <= SHOWN else f'{text[:SHOWN]}...',
                )
                message.reject()
        if rows and self._saved(rows):
            for message in tasks:
                message.ack()

    def _saved(self, rows: list[dict[str, Any]]) -> bool:
        """Try until the rows are committed; return whether they were before the stop."""
        while True:
            try:
                self._table.save(rows)
            except SQLAlchemyError as error:
                self._pause(self._database.failed(error))
                if self.should_stop:
                    return False
            else:
                self._database.ended()
                return True

    def _pause(self, seconds: float) -> None:
        # In steps: a signal's handler may set no Event, whose lock this thread could be holding.
        end = time.monotonic() + seconds
        while not self.should_stop and (left := end - time.monotonic()) > 0:
            time.sleep(min(STEP_SECONDS, left))
