"""Sends scheduled tasks: Celery's beat with its state in the result database.

It may run on every replica. Each due time of an entry is claimed in the database by one of them,
which sends the task before it commits the claim. One that is killed in between leaves the due time
to the others: its task may then be sent twice, with the same id.
"""

from __future__ import annotations

import copy
import logging
import signal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from celery import Celery, beat, signals
from celery.schedules import schedule as interval
from kombu.common import maybe_declare
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, Outage
from be_queue.worker import liveness
from be_queue.worker.history import engine_of, transaction
from be_queue.worker.history.tables import SCHEDULE

__all__ = ['Run', 'Scheduler', 'check', 'runs']

logger = logging.getLogger(__name__)

#: After so many seconds a due time counts as missed.
MISSED_SECONDS = 60.0
#: The longest wait between two looks, so that a liveness probe sees one a minute.
MAX_WAIT_SECONDS = 30.0
#: The namespace of the ids of scheduled tasks.
NAMESPACE = uuid.UUID('7d0f4c0e-6c55-4f4e-9a53-1f3c5b0a9d11')


def check(app: Celery) -> None:
    """Raise `be_queue.BeQueueError` when an entry's task has no queue, or without a database."""
    Scheduler(app)


@dataclass(frozen=True)
class Run:
    """An entry of the schedule.

    Arguments:
        schedule: as a text, such as ``0 4 * * *`` or ``every 30.00 seconds``.
        last_run_at: when it was last due or sent, or first seen by a scheduler; None when no
            scheduler has seen it.
        next_run_at: when it is due next, in the past when it is late.
    """

    name: str
    task: str
    schedule: str
    last_run_at: datetime | None
    next_run_at: datetime | None


def runs(app: Celery) -> list[Run]:
    """Return the entries of ``beat_schedule`` with their times; the tasks need not be imported.

    Raises `SettingError` and what SQLAlchemy raises; without entries the database is not asked.
    """
    if not app.conf.beat_schedule:
        return []
    with transaction(app) as connection:
        last_runs = dict(connection.execute(select(*SCHEDULE.c)).tuples().all())
    return [
        ScheduledEntry(name, app=app, **entry).seen(last_runs.get(name))
        for name, entry in app.conf.beat_schedule.items()
    ]


class ScheduledEntry(beat.ScheduleEntry):
    """An entry of Celery's ``beat_schedule``.

    Arguments:
        catch_up: whether a due time that was missed, since no scheduler ran, is sent late; several
            are sent once.
    """

    def __init__(self, *args: Any, catch_up: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.catch_up = catch_up

    @property
    def seconds_left(self) -> float:
        """Seconds until the entry is due, negative when it is overdue."""
        left: timedelta = self.schedule.remaining_estimate(self.last_run_at)
        return left.total_seconds()

    def seen(self, last_run_at: datetime | None) -> Run:
        """Return what a reader sees of the entry."""
        next_run_at = None
        if last_run_at:
            self.last_run_at = last_run_at
            next_run_at = datetime.now(timezone.utc) + timedelta(seconds=self.seconds_left)
        # Celery's own: <crontab: 0 4 * * * (m/h/dM/MY/d)>, <freq: 30.00 seconds>
        text = repr(self.schedule).strip('<>').replace('freq:', 'every')
        text = text.removeprefix('crontab: ').removesuffix(' (m/h/dM/MY/d)')
        return Run(self.name, self.task, text, last_run_at, next_run_at)

    def run_at(self, now: datetime) -> datetime:
        """Return what to keep as the time of a run: intervals must not drift."""
        if not isinstance(self.schedule, interval):
            return now
        every: timedelta = self.schedule.run_every
        due: datetime = self.last_run_at + (now - self.last_run_at) // every * every
        return due


class Scheduler(beat.Scheduler):
    """For Celery's ``beat_scheduler``, as ``be_queue.worker.scheduler:Scheduler``.

    Each message has the header ``scheduled_for``: when the entry was due, or sent.
    """

    Entry = ScheduledEntry

    def __init__(self, app: Celery, *args: Any, **kwargs: Any) -> None:
        self._engine = engine_of(app)
        self._outage = Outage('sending scheduled tasks', hint=f'{CHECK_SQS}, and {CHECK_RESULT_DB}')
        self._is_started = self._is_looking = self._must_stop = False
        super().__init__(app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """Take the entries of ``beat_schedule``. Raises `UnmappedTaskError`."""
        self.merge_inplace(self.app.conf.beat_schedule)
        for entry in self.schedule.values():
            self.app.amqp.router.route(entry.options, entry.task)

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due; return the seconds until the next look."""
        self._is_looking = True
        try:
            liveness.touch()
            return self._look()
        finally:
            self._is_looking = False
            if self._must_stop:
                raise SystemExit(0)

    def stop(self, *_: Any) -> None:
        """End the process after the look that is in progress: a signal handler."""
        self._must_stop = True
        if not self._is_looking:
            raise SystemExit(0)

    def _look(self) -> float:
        try:
            if not self._is_started:
                self._prepare()
            with self._engine.begin() as connection:
                last_runs = self._last_runs(connection)
            for entry in self.schedule.values():
                entry.last_run_at = last_runs[entry.name]
                if entry.is_due().is_due:
                    self._run(entry)
        except IntegrityError:
            return 0.0  # another replica has just made the table, or the entry's row
        except Exception as error:  # noqa: BLE001  (kombu, boto3 and SQLAlchemy have many)
            return self._outage.failed(error)
        self._outage.ended()
        if not self._is_started:
            self._is_started = True
            logger.info('started: entries=%s', ', '.join(self.schedule))
        waits: list[float] = [max(0.0, entry.seconds_left) for entry in self.schedule.values()]
        return min([*waits, float(self.max_interval), MAX_WAIT_SECONDS])

    def _prepare(self) -> None:
        # Celery loads these two when it first sends. The first message would take a second, in
        # which the other replicas wait for its claim.
        _ = self.app.backend, self.app.amqp.send_task_message
        for entry in self.schedule.values():
            queue = self.app.amqp.router.route(entry.options, entry.task)['queue']
            maybe_declare(queue, self.producer.channel)

    def _last_runs(self, connection: Connection) -> Mapping[str, datetime]:
        found = dict(connection.execute(select(*SCHEDULE.c)).tuples().all())
        now = datetime.now(timezone.utc)
        new = [{'name': n, 'last_run_at': now} for n in self.schedule if n not in found]
        if new:
            connection.execute(SCHEDULE.insert(), new)
        return found | {row['name']: row['last_run_at'] for row in new}

    def _run(self, entry: ScheduledEntry) -> None:
        now = datetime.now(timezone.utc)
        run_at = entry.run_at(now)
        claim = (
            update(SCHEDULE)
            .where(SCHEDULE.c.name == entry.name, SCHEDULE.c.last_run_at == entry.last_run_at)
            .values(last_run_at=run_at)
        )
        # Another replica waits here until the claim is committed, and then finds it taken.
        with self._engine.begin() as connection:
            if connection.execute(claim).rowcount:
                self._send(entry, run_at)
        entry.last_run_at = run_at

    def _send(self, entry: ScheduledEntry, run_at: datetime) -> None:
        late = -entry.seconds_left
        if late > MISSED_SECONDS and not entry.catch_up:
            logger.warning('missed, and skipped: entry=%s late=%.0f s', entry.name, late)
            return
        due = copy.copy(entry)
        due.options = entry.options | {
            'task_id': str(uuid.uuid5(NAMESPACE, f'{entry.name} {entry.last_run_at.isoformat()}')),
            'headers': (entry.options.get('headers') or {}) | {'scheduled_for': run_at.isoformat()},
        }
        self.apply_async(due, producer=self.producer, advance=False)
        logger.info('sent: entry=%s task=%s id=%s', entry.name, entry.task, due.options['task_id'])


@signals.beat_init.connect
def _handle_signals(sender: Any, **_: Any) -> None:
    # Celery's handler raises SystemExit anywhere, also in a callback that swallows it.
    if isinstance(sender.scheduler, Scheduler):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, sender.scheduler.stop)
