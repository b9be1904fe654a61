"""The scheduler, in several processes on a real SQS server and PostgreSQL."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter
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
from tests.support.process import Program, running

#: Starts beat as `celery beat` does, with an entry that is due every 200 ms.
PROGRAM = """
import sys
from celery import Celery
from be_queue import Config, Queue, Queues

url, prefix, backend, entry = sys.argv[1:]
queues = Queues([Queue(queue_name='work', task='work')]).build_celery('local', username=prefix)
app = Celery()
app.config_from_object(Config(queues, SQS_ENDPOINT_URL=url, result_backend=backend,
    beat_schedule={entry: {'task': 'work', 'schedule': 0.2, 'args': [1]}},
    beat_scheduler='be_queue.worker.scheduler:Scheduler'))
app.Beat(loglevel='INFO', quiet=True).run()
"""


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


def messages(scene: Scene) -> list[dict[str, Any]]:
    """Receive and delete what is there; return the headers of each."""
    found: list[dict[str, Any]] = []
    url = scene.url(scene.work)
    while batch := scene.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
        'Messages'
    ):
        for message in batch:
            found.append(json.loads(message['Body'])['headers'])
            scene.client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
    return found


def test_three_schedulers_send_each_due_time_once_whoever_is_killed(
    scene: Scene, postgres: PostgresServer, tmp_path: Path
) -> None:
    scene.declare(scene.app())
    backend = postgres.backend_url
    migrate(Celery(backend=backend, set_as_current=False))
    entry = f'every-{scene.prefix}'
    numbers = iter(range(1000))
    sent: Counter[str] = Counter()
    with ExitStack() as stack:

        def start() -> Program:
            log = tmp_path / f'{next(numbers)}.log'
            arguments = ('-c', PROGRAM, scene.sqs.url, scene.prefix, backend, entry)
            return stack.enter_context(running(arguments, {}, log))

        def more(count: int) -> None:
            wanted = len(sent) + count
            wait_until(lambda: collect() >= wanted, f'{count} more due times are sent', timeout=60)

        def collect() -> int:
            sent.update(headers['scheduled_for'] for headers in messages(scene))
            return len(sent)

        programs = [start() for _ in range(3)]
        more(10)
        kills = 4
        for _ in range(kills):
            victim = programs.pop(random.randrange(3))
            victim.ends(signal.SIGKILL)
            more(5)
            programs.append(start())
        for program in programs:
            program.ends(signal.SIGKILL)
    collect()
    # One that is killed after it has sent, and before it has committed that, is seen twice.
    assert sum(sent.values()) - len(sent) <= kills + len(programs)
    first = min(map(datetime.fromisoformat, sent))
    for due in map(datetime.fromisoformat, sent):
        assert (due - first) % timedelta(seconds=0.2) == timedelta(0)


def test_a_missed_due_time_is_sent_once(scene: Scene, scheduler: Callable[..., Scheduler]) -> None:
    late = scheduler(timedelta(days=3), schedule=crontab(minute=0, hour=4))
    late.tick()
    late.tick()
    assert [headers['task'] for headers in messages(scene)] == ['work']


def test_a_missed_due_time_is_skipped_when_the_entry_says_so(
    scene: Scene, scheduler: Callable[..., Scheduler], caplog: pytest.LogCaptureFixture
) -> None:
    late = scheduler(timedelta(days=3), schedule=timedelta(days=2), catch_up=False)
    late.tick()
    late.tick()
    assert messages(scene) == []
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
    (headers,) = messages(scene)
    late = datetime.now(timezone.utc) - datetime.fromisoformat(headers['scheduled_for'])
    assert timedelta(0) <= late < timedelta(hours=1)


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
    assert len(messages(scene)) == 1
    with pytest.raises(SystemExit):
        due.stop(signal.SIGTERM, None)


def fails(*_: Any, **__: Any) -> None:
    raise OSError('no SQS')


def test_an_entry_whose_task_has_no_queue_stops_the_start(app: Celery) -> None:
    app.conf.beat_schedule = {'nightly': {'task': 'wrok', 'schedule': 60}}
    with pytest.raises(UnmappedTaskError, match="did you mean 'work'"):
        Scheduler(app)
