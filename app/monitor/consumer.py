"""The loop: receive, commit the rows, then delete the messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from app.monitor.messages import TRANSPORT_OPTIONS, NotATaskError, accept_broken_messages, task_row
from app.monitor.table import TaskTable
from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, Outage

__all__ = ['Monitor']

logger = logging.getLogger(__name__)

#: Seconds that a receive waits for a message. A receive is never broken off, since SQS would hide
#: what it was about to answer; so a stop takes up to two of them.
POLL = 1
#: The most messages that one receive returns, a limit of SQS, and the rows of one commit.
BATCH = 10
#: Seconds between two looks at whether to stop.
STEP = 0.1
#: Characters of a broken message in the log.
SHOWN = 500


class Monitor:
    """Consumes the platform queue into the table of tasks until it is told to stop.

    Arguments:
        celery_app: leads to the broker.
        queue: the platform queue.
        table: where the rows go.
    """

    def __init__(self, celery_app: Celery, queue: kombu.Queue, table: TaskTable) -> None:
        self._app = celery_app
        self._queue = queue
        self._table = table
        self._stopping = False
        self._broker = Outage('the broker', hint=CHECK_SQS)
        self._database = Outage('the result database', hint=CHECK_RESULT_DB)

    def stop(self) -> None:
        """Have `run` return once the messages in hand are dealt with."""
        self._stopping = True

    def run(self) -> None:
        """Consume until told to stop, however often the broker goes away."""
        while not self._stopping:
            try:
                self._consume()
            except Exception as error:  # noqa: BLE001  (whatever the transport raises)
                self._pause(self._broker.failed(error))

    def _consume(self) -> None:
        options = self._transport_options()
        with self._app.connection_for_read(transport_options=options) as connection:
            connection.ensure_connection(max_retries=0)  # trying again is up to run()
            channel = connection.channel()
            accept_broken_messages(channel)
            batch: list[kombu.Message] = []
            with kombu.Consumer(
                channel,
                [self._queue],
                on_message=batch.append,
                on_decode_error=lambda message, _: batch.append(message),
                prefetch_count=BATCH,
            ):
                while not self._stopping:
                    with suppress(TimeoutError):  # nothing came
                        connection.drain_events(timeout=POLL)
                    self._broker.ended()
                    self._store(batch)
                    batch.clear()
            # What is not acknowledged by now, kombu makes visible again as it closes the channel.

    def _transport_options(self) -> dict[str, Any]:
        client = self._app.conf.broker_transport_options.get('client-config') or {}
        return TRANSPORT_OPTIONS | {
            'wait_time_seconds': POLL,
            # Seconds. Our own tries come on top, and a stop waits for none of boto's.
            'client-config': client
            | {
                'connect_timeout': 2,
                'read_timeout': POLL + 3,
                'retries': {'total_max_attempts': 1},
            },
        }

    def _store(self, batch: list[kombu.Message]) -> None:
        rows, tasks, others = [], [], []
        for message in batch:
            try:
                rows.append(task_row(message))
                tasks.append(message)
            except NotATaskError as error:
                _report(message, error)
                others.append(message)
        saved = not rows or self._until_done(
            lambda: self._table.save(rows), self._database, SQLAlchemyError
        )
        # A message that stayed undeleted would hold up its message group, so deleting is tried
        # again and again: on SQS that needs no connection of its own.
        deletions = [message.reject for message in others]
        deletions += [message.ack for message in tasks] if saved else []
        for delete in deletions:
            if not self._until_done(delete, self._broker, Exception):
                return

    def _until_done(
        self, action: Callable[[], object], server: Outage, errors: type[Exception]
    ) -> bool:
        """Try ``action`` until it works; return whether it did before the stop."""
        while True:
            try:
                action()
            except errors as error:
                self._pause(server.failed(error))
                if self._stopping:
                    return False
            else:
                server.ended()
                return True

    def _pause(self, seconds: float) -> None:
        # In steps: a signal's handler may set no Event, whose lock this thread could be holding.
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(STEP, left))


def _report(message: kombu.Message, error: NotATaskError) -> None:
    text = repr(message.body or message.headers)
    logger.error(
        'rejected what is not a task: fault=%s message=%s; find out who sends it: only Celery '
        'producers with task_protocol=2 may send to the platform queue',
        error,
        text if len(text) <= SHOWN else f'{text[:SHOWN]}...',
    )
