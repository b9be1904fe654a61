"""Keeps the table of tasks, beside Celery's own table of results: one row per task.

Every producer sends a copy of each task message to the platform queue. The monitor receives them,
commits their rows, then deletes them.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Annotated, Any

import kombu
from celery import Celery
from kombu.mixins import ConsumerMixin
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from be_queue import SettingError
from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, Outage
from be_queue.text import shortened, storable
from be_queue.worker import logs, processes
from be_queue.worker.history import engine_of, fault, migrate, save
from be_queue.worker.history.tables import ID_LENGTH
from be_queue.worker.role import Role
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.start_error import StartError

__all__ = ['main']

logger = logging.getLogger(__name__)

#: A receive waits for a message so long. It is never broken off, since SQS would hide what it was
#: about to answer: a stop takes up to two of them.
POLL_SECONDS = 1
#: The monitor tries again itself, and a stop waits for none of boto3's retries.
CLIENT_CONFIG = {
    'connect_timeout': 2,
    'read_timeout': POLL_SECONDS + 3,
    'retries': {'total_max_attempts': 1},
}
#: Messages of one receive, at most 10 on SQS, and rows of one commit.
BATCH = 10
#: The longest wait before another try, during which nobody looks whether the monitor is to stop.
MAX_WAIT_SECONDS = 1.0
#: Characters kept of a text; Celery's representations of arguments are no longer by default.
TEXT_LENGTH = 1024
#: Characters of a message in the log.
SHOWN = 500


def main(worker_config: WorkerConfig) -> int:
    """Run the monitor until SIGTERM or SIGINT; return the exit status."""
    config = worker_config.APP
    logs.setup(config, 'monitor')
    queue = worker_config.TOPOLOGY.platform_queue()
    if queue is None:
        raise SettingError(
            "PLATFORM_QUEUE_NAME='': the platform queue is switched off, so there is nothing to "
            'monitor: name it, or do not start the monitor'
        )
    app = Celery(config.service_name)
    app.config_from_object(worker_config)
    engine = engine_of(app)
    database = engine.url.render_as_string()
    monitor = Monitor(app, queue, engine)

    def stop(*_: Any) -> None:
        monitor.should_stop = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second signal stops at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    processes.start(Role.MONITOR)
    logger.info('started: queue=%s database=%s', queue.name, database)
    try:
        monitor.prepare(is_local=config.is_local)
        monitor.run()
    finally:
        processes.stop()
    logger.info('stopped')
    return 0


def _text(value: Any) -> str | None:
    return None if value is None else storable(str(value))[:TEXT_LENGTH]


Text = Annotated[str | None, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), Field(min_length=1)]


class TaskRow(BaseModel):
    """A row of the table of tasks, from the headers of Celery's task protocol 2."""

    task_id: Name = Field(alias='id', max_length=ID_LENGTH)
    name: Name = Field(alias='task')
    queue: Text
    args: Text = Field(None, alias='argsrepr')
    kwargs: Text = Field(None, alias='kwargsrepr')
    retries: int = Field(0, ge=0, lt=2**31)
    parent_id: Text = None
    root_id: Text = None
    group_id: Text = Field(None, alias='group')
    earlier_attempts: list[dict[str, Any]] | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    origin: Text = None
    sent_at: datetime
    seen_at: datetime


class Monitor(ConsumerMixin):
    """Consumes the platform queue into the table of tasks until ``should_stop`` is set."""

    connect_max_retries = 0  # the retries are those of run()

    def __init__(self, app: Celery, queue: kombu.Queue, engine: Engine) -> None:
        given = app.conf.broker_transport_options.get('client-config') or {}
        options = {'wait_time_seconds': POLL_SECONDS, 'client-config': given | CLIENT_CONFIG}
        self.connection = app.connection_for_read(transport_options=options)
        # It would say at every retry that it has connected.
        logging.getLogger('kombu.mixins').setLevel(logging.WARNING)
        self._app = app
        self._queue = queue
        self._engine = engine
        self._batch: list[kombu.Message] = []
        self._broker = Outage('the broker', MAX_WAIT_SECONDS, CHECK_SQS)
        self._database = Outage('the result database', MAX_WAIT_SECONDS, CHECK_RESULT_DB)

    def get_consumers(self, consumer: Callable[..., Any], channel: Any) -> list[kombu.Consumer]:
        self._batch.clear()  # the broker delivers again what an earlier connection has left
        return [consumer(self._queue, on_message=self._batch.append, prefetch_count=BATCH)]

    def on_decode_error(self, message: kombu.Message, exc: Exception) -> None:
        _reject(message, exc)

    def prepare(self, *, is_local: bool) -> None:
        """Wait for the database; migrate its tables locally.

        Raises `StartError` elsewhere when they are missing or old.
        """
        while not self.should_stop:
            try:
                if is_local:
                    migrate(self._app)
                elif found := fault(self._app):
                    raise StartError(found)
            except SQLAlchemyError as error:
                time.sleep(self._database.failed(error))
            else:
                self._database.ended()
                return

    def run(self) -> None:
        """Consume until told to stop, however often the broker is unavailable."""
        # kombu's would log a traceback at each try, and wait for it after a stop.
        while not self.should_stop:
            try:
                with self.consumer_context() as (connection, *_):
                    while not self.should_stop:
                        with suppress(TimeoutError):  # nothing came
                            connection.drain_events(timeout=POLL_SECONDS)
                        self._store()
                        self._broker.ended()
            except Exception as error:  # noqa: BLE001  (each transport raises its own)
                time.sleep(self._broker.failed(error))

    def _store(self) -> None:
        tasks, rows = [], []
        for message in self._batch:
            try:
                rows.append(_row(message))
                tasks.append(message)
            except ValidationError as error:
                _reject(message, error)
        if rows and self._saved(rows):
            for message in tasks:
                message.ack()
        self._batch.clear()

    def _saved(self, rows: list[dict[str, Any]]) -> bool:
        """Try until the rows are committed; return whether they were before the stop."""
        while not self.should_stop:
            try:
                save(self._engine, rows)
            except SQLAlchemyError as error:
                time.sleep(self._database.failed(error))
            else:
                self._database.ended()
                return True
        return False


def _row(message: kombu.Message) -> dict[str, Any]:
    info, now = message.delivery_info, datetime.now(timezone.utc)
    attributes = info.get('sqs_message', {}).get('Attributes', {})
    known = {
        'queue': info.get('routing_key'),
        'sent_at': attributes.get('SentTimestamp', now),  # milliseconds since 1970
        'seen_at': now,
    }
    return TaskRow.model_validate(message.headers | known).model_dump()


def _reject(message: kombu.Message, error: Exception) -> None:
    if isinstance(error, ValidationError):
        fault = '; '.join(f'header {e["loc"][0]!r}: {e["msg"]}' for e in error.errors())
    else:
        fault = repr(error)
    logger.error(
        'rejected a message that is not a task: fault=%s message=%s; find out who sends it: only '
        'Celery producers with task_protocol=2 may send to the platform queue',
        fault,
        shortened(repr(message.body or message.headers), SHOWN),
    )
    message.reject()
