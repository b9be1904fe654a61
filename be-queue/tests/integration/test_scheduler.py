"""The scheduler, in several processes on a real SQS server and PostgreSQL."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from sqlalchemy import update

from be_queue.errors import UnmappedTaskError
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.history import migrate
from be_queue.worker.history.tables import SCHEDULE
from be_queue.worker.scheduler import Run, Scheduler, runs
from tests.integration.scene import Scene
from tests.integration.schedulers import EVERY, Schedulers, headers_of


@pytest.fixture
def scheduler(app: Celery) -> Iterator[Callable[..., Scheduler]]:
    """Makes a scheduler with one entry, which was last run some time ago."""
    migrate(app)
    with ExitStack() as stack:

        def scheduler(last_run: timedelta, **entry: Any) -> Scheduler:
            app.conf.beat_schedule = {'nightly': {'task': 'work', **entry}}
            made = Scheduler(app)
            stack.callback(made._engine.dispose)
            made.tick()  # makes the row
            with made._engine.begin() as connection:
                at = datetime.now(timezone.utc) - last_run
                connection.execute(update(SCHEDULE).values(last_run_at=at))
            return made

        yield scheduler


def test_three_schedulers_send_each_due_time_once_whoever_is_killed(
    scene: Scene, postgres: PostgresServer, tmp_path: Path
) -> None:
    kills = 4
    with Schedulers(scene, postgres, tmp_path) as schedulers:
        schedulers.wait_for_more(10)
        os.utime(schedulers.liveness_file, (0, 0))
        wait_until(lambda: schedulers.liveness_file.stat().st_mtime > 0, 'it is touched')
        for _ in range(kills):
            schedulers.kill_one()
            schedulers.wait_for_more(5)
    sent = schedulers.sent
    # One that is killed after it has sent, and before it has committed that, is seen twice.
    assert sent.total() - len(sent) <= kills + schedulers.COUNT
    first = min(map(datetime.fromisoformat, sent))
    for due in map(datetime.fromisoformat, sent):
        assert (due - first) % EVERY == timedelta(0)


def test_a_missed_due_time_is_sent_once(scene: Scene, scheduler: Callable[..., Scheduler]) -> None:
    late = scheduler(timedelta(days=3), schedule=crontab(minute=0, hour=4))
    late.tick()
    late.tick()
    assert [headers['task'] for headers in headers_of(scene)] == ['work']


def test_a_missed_due_time_is_skipped_when_the_entry_says_so(
    scene: Scene, scheduler: Callable[..., Scheduler], caplog: pytest.LogCaptureFixture
) -> None:
    late = scheduler(timedelta(days=3), schedule=timedelta(days=2), catch_up=False)
    late.tick()
    late.tick()
    assert headers_of(scene) == []
    (line,) = caplog.messages
    assert re.fullmatch(r'missed, and skipped: entry=nightly late=864\d\d s', line)


def test_it_sleeps_until_the_next_due_time(scheduler: Callable[..., Scheduler]) -> None:
    assert 0 < scheduler(timedelta(seconds=0), schedule=100).tick() <= 100


def test_the_last_and_the_next_run_of_each_entry_are_shown(
    app: Celery, scheduler: Callable[..., Scheduler]
) -> None:
    scheduler(timedelta(minutes=1), schedule=100)
    entry = {'task': 'work', 'schedule': crontab(minute=0, hour=4), 'catch_up': False}
    app.conf.beat_schedule['new'] = entry
    started = time.monotonic()
    nightly, new = runs(app)
    took = time.monotonic() - started
    assert (nightly.task, nightly.schedule) == ('work', 'every 1.67 minutes')
    assert nightly.last_run_at is not None
    assert nightly.next_run_at is not None
    every = (nightly.next_run_at - nightly.last_run_at).total_seconds()
    assert 100 - took <= every <= 100
    assert new == Run('new', 'work', '0 4 * * *', None, None)


def test_a_task_that_cannot_be_sent_is_sent_later(
    scene: Scene, app: Celery, scheduler: Callable[..., Scheduler], caplog: pytest.LogCaptureFixture
) -> None:
    due = scheduler(timedelta(days=3), schedule=3600)
    send = due.send_task
    due.send_task = fails
    assert due.tick() < 1
    assert 'sending scheduled tasks is unavailable' in caplog.text
    due.send_task = send
    due.tick()
    (headers,) = headers_of(scene)
    late = datetime.now(timezone.utc) - datetime.fromisoformat(headers['scheduled_for'])
    assert timedelta(0) <= late < timedelta(hours=1)


def test_a_task_whose_claim_is_not_committed_is_sent_again_with_the_same_id(
    scene: Scene, scheduler: Callable[..., Scheduler]
) -> None:
    """As when it is killed in between. A FIFO queue takes only the first."""
    due = scheduler(timedelta(days=3), schedule=crontab(minute=0, hour=4))
    send = due.send_task

    def send_and_fail(*args: Any, **kwargs: Any) -> None:
        send(*args, **kwargs)
        raise OSError('the database is gone')

    due.send_task = send_and_fail
    due.tick()
    due.send_task = send
    due.tick()
    first, second = headers_of(scene)
    assert first['id'] == second['id']
    assert scene.sqs.visible(scene.platform) == 1


def test_a_signal_ends_it_after_the_look_in_progress(
    scene: Scene, scheduler: Callable[..., Scheduler]
) -> None:
    due = scheduler(timedelta(days=3), schedule=3600)
    send = due.send_task

    def send_and_signal(*args: Any, **kwargs: Any) -> Any:
        due.stop(signal.SIGTERM, None)
        return send(*args, **kwargs)

    due.send_task = send_and_signal
    with pytest.raises(SystemExit):
        due.tick()
    assert len(headers_of(scene)) == 1
    with pytest.raises(SystemExit):
        due.stop(signal.SIGTERM, None)


def fails(*_: Any, **__: Any) -> None:
    raise OSError('no SQS')


def test_an_entry_whose_task_has_no_queue_stops_the_start(app: Celery) -> None:
    app.conf.beat_schedule = {'nightly': {'task': 'wrok', 'schedule': 60}}
    with pytest.raises(UnmappedTaskError, match="did you mean 'work'"):
        Scheduler(app)
