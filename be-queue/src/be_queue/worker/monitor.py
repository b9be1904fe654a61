"""Keeps the table of tasks, beside Celery's own table of results: one row per task.

Every producer sends a copy of each task message to the platform queue. The monitor receives them,
commits their rows, then deletes them, as many at once as there are.
"""

from __future__ import annotations

import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from itertools import chain
from typing import Annotated, Any

import kombu
from celery import Celery
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from be_queue import SettingError
from be_queue.database import prepare_statements
from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, Outage, brief
from be_queue.text import shortened, storable
from be_queue.transport.messages import envelope_of, with_copied_attributes
from be_queue.transport.requests import BATCH_SIZE
from be_queue.worker import liveness, logs, processes
from be_queue.worker.history import engine_of, fault, migrate, save
from be_queue.worker.history.retention import PRUNED_AT_ONCE, prune
from be_queue.worker.history.tables import ID_LENGTH
from be_queue.worker.role import Role
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.start_error import StartError

__all__ = ['main']

logger = logging.getLogger(__name__)

#: A receive waits for a message so long. It is never broken off, since SQS would hide what it was
#: about to answer: a stop waits for it.
POLL_SECONDS = 1
#: Requests to SQS in flight while there is a backlog.
REQUESTS = 8
#: The monitor tries again itself, and a stop waits for none of boto3's retries.
CLIENT_CONFIG = {
    'connect_timeout': 2,
    'read_timeout': POLL_SECONDS + 3,
    'retries': {'total_max_attempts': 1},
    'max_pool_connections': REQUESTS,
}
#: Rows of one commit, about, and the seconds after which fewer are committed.
BATCH = 1000
BATCH_SECONDS = 0.5
#: Seconds between two looks for old tasks.
PRUNE_INTERVAL = 60.0
#: The longest wait before another try, during which nobody looks whether the monitor is to stop.
MAX_WAIT_SECONDS = 1.0
#: Characters kept of a text; Celery's representations of arguments are no longer by default.
TEXT_LENGTH = 1024
#: Earlier attempts kept, the latest; a worker tells of no more.
MAX_ATTEMPTS = 10
#: Characters of a message in the log.
SHOWN = 500
CHECK_RIGHTS = f'{CHECK_RESULT_DB}, and the rights of RESULT_DB_USER (docs/history.md)'


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
    liveness.touch()
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


def _attempts(value: Any) -> list[dict[str, Any]] | None:
    found = []
    for each in value[-MAX_ATTEMPTS:] if isinstance(value, list) else ():
        with suppress(ValidationError):  # they are worth less than the row
            found.append(Breadcrumb.model_validate(each).model_dump())
    return found or None


Text = Annotated[str | None, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), Field(min_length=1)]


class Attempt(BaseModel):
    """The data of a `Breadcrumb`."""

    attempt: int
    exception: Name


class Breadcrumb(BaseModel):
    """An entry of the header ``earlier_attempts``."""

    data: Attempt
    timestamp: Annotated[str, AfterValidator(lambda t: datetime.fromisoformat(t).isoformat())]


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
    earlier_attempts: Annotated[list[dict[str, Any]] | None, BeforeValidator(_attempts)] = None
    eta: datetime | None = None
    expires: datetime | None = None
    origin: Text = None
    sent_at: datetime
    seen_at: datetime


class Monitor:
    """Moves the messages of the platform queue to the table of tasks until ``should_stop`` is set.

    Messages are deleted once their rows are committed: those of a monitor that is killed come again
    after the visibility timeout, and become the same rows. Several monitors may share the queue.
    """

    def __init__(self, app: Celery, queue: kombu.Queue, engine: Engine) -> None:
        self.should_stop = False
        self._app = app
        self._queue = queue
        self._engine = engine
        if engine.driver == 'psycopg':
            event.listen(engine, 'connect', prepare_statements)  # a third of the time
        self._pool = ThreadPoolExecutor(REQUESTS)
        self._broker = Outage('the broker', MAX_WAIT_SECONDS, CHECK_SQS)
        self._database = Outage('the result database', MAX_WAIT_SECONDS, CHECK_RIGHTS)
        self._prune_at = 0.0

    def prepare(self, *, is_local: bool) -> None:
        """Wait for the database; migrate its tables locally.

        Raises `StartError` elsewhere when they are missing or old.
        """
        while not self.should_stop:
            liveness.touch()
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
        given = self._app.conf.broker_transport_options.get('client-config') or {}
        options = {'client-config': given | CLIENT_CONFIG}
        while not self.should_stop:
            liveness.touch()
            connection = self._app.connection_for_read(transport_options=options)
            try:
                with connection, connection.channel() as channel:
                    self._queue(channel).declare()
                    while not self.should_stop:
                        self._move(channel)
                        self._broker.ended()
                        self._prune()
            except Exception as error:  # noqa: BLE001  (boto3 and kombu have many)
                time.sleep(self._broker.failed(error))

    def _move(self, channel: Any) -> None:
        """Move a batch from the queue to the table."""
        liveness.touch()
        client, url = channel.blocking_sqs(self._queue.name), channel.url_of(self._queue.name)
        rows, messages = [], []
        for message in self._received(client, url, channel.visibility_timeout):
            try:
                rows.append(_row(message, self._queue.name))
                messages.append(message)
            except ValueError as error:  # pydantic's too
                _log_rejected(message, error)
                channel.dead_letters.not_delivered(self._queue.name, url, message, error)
        if not rows:
            return
        if self._saved(rows):
            request, more = client.delete_message_batch, {}
        else:  # for another monitor, at once
            request, more = client.change_message_visibility_batch, {'VisibilityTimeout': 0}
        entries = [
            {'Id': str(n % BATCH_SIZE), 'ReceiptHandle': message['ReceiptHandle'], **more}
            for n, message in enumerate(messages)
        ]
        parts = [entries[n : n + BATCH_SIZE] for n in range(0, len(entries), BATCH_SIZE)]
        list(self._pool.map(lambda part: request(QueueUrl=url, Entries=part), parts))

    def _received(self, client: Any, url: str, hidden_seconds: int) -> list[dict[str, Any]]:
        """Wait for messages; return those that are there, or as many as are worth a commit."""

        def receive(wait: int) -> list[dict[str, Any]]:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=BATCH_SIZE,
                WaitTimeSeconds=wait,
                VisibilityTimeout=hidden_seconds,
                **with_copied_attributes({'MessageSystemAttributeNames': ['SentTimestamp']}),
            )
            return list(answer.get('Messages') or ())

        found = receive(POLL_SECONDS)
        has_more, ends_at = len(found) == BATCH_SIZE, time.monotonic() + BATCH_SECONDS
        while has_more and len(found) < BATCH and time.monotonic() < ends_at:
            more = list(chain.from_iterable(self._pool.map(receive, [0] * REQUESTS)))
            has_more = 2 * len(more) >= REQUESTS * BATCH_SIZE
            found += more
        return found

    def _saved(self, rows: list[dict[str, Any]]) -> bool:
        """Try until the rows are committed; return whether they were before the stop."""
        while True:
            liveness.touch()
            try:
                save(self._engine, rows)
            except SQLAlchemyError as error:
                time.sleep(self._database.failed(error))
            else:
                self._database.ended()
                return True
            if self.should_stop:
                return False

    def _prune(self) -> None:
        """Delete a batch of old tasks, if it is time; after a full one it is again at once."""
        age = self._app.backend.expires
        if not age or time.monotonic() < self._prune_at:
            return
        try:
            is_full = prune(self._engine, age) == PRUNED_AT_ONCE
        except SQLAlchemyError as error:
            is_full = False
            logger.warning('old tasks are kept for now: %s: check %s', brief(error), CHECK_RIGHTS)
        self._prune_at = time.monotonic() + (0 if is_full else PRUNE_INTERVAL)


def _row(message: dict[str, Any], queue: str) -> dict[str, Any]:
    envelope, now = envelope_of(message['Body']), datetime.now(timezone.utc)
    headers = envelope.get('headers')
    with suppress(KeyError, TypeError):
        queue = envelope['properties']['delivery_info']['routing_key']
    known = {
        'queue': queue,
        'sent_at': message.get('Attributes', {}).get('SentTimestamp', now),  # ms since 1970
        'seen_at': now,
    }
    headers = headers if isinstance(headers, dict) else {}
    return TaskRow.model_validate(headers | known).model_dump()


def _log_rejected(message: dict[str, Any], error: ValueError) -> None:
    if isinstance(error, ValidationError):
        fault = '; '.join(f'header {e["loc"][0]!r}: {e["msg"]}' for e in error.errors())
    else:
        fault = repr(error)
    logger.error(
        'rejected a message that is not a task: fault=%s message=%s; find out who sends it: only '
        'Celery producers with task_protocol=2 may send to the platform queue',
        fault,
        shortened(repr(message['Body']), SHOWN),
    )
