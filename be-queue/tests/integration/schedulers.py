"""Schedulers in processes of their own, with an entry that is due every 200 ms."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Celery

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.history import migrate
from tests.integration.scene import Scene
from tests.support.process import Program, running

__all__ = ['EVERY', 'Schedulers', 'headers_of']

EVERY = timedelta(seconds=0.2)

#: Starts beat as `celery beat` does.
PROGRAM = """
import sys
from celery import Celery
from be_queue import Config, Queue, Queues

url, prefix, backend, entry, every = sys.argv[1:]
queues = Queues([Queue(queue_name='work', task='work')]).build_celery('local', username=prefix)
app = Celery()
app.config_from_object(Config(queues, SQS_ENDPOINT_URL=url, result_backend=backend,
    beat_schedule={entry: {'task': 'work', 'schedule': float(every), 'args': [1]}},
    beat_scheduler='be_queue.worker.scheduler:Scheduler'))
app.finalize()
app.Beat(loglevel='INFO', quiet=True).run()
"""


def headers_of(scene: Scene) -> list[dict[str, Any]]:
    """Receive and delete the messages that are there; return the headers of each."""
    found: list[dict[str, Any]] = []
    url = scene.url(scene.work)
    while batch := scene.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
        'Messages'
    ):
        for message in batch:
            found.append(json.loads(message['Body'])['headers'])
            scene.client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
    return found


class Schedulers:
    """Three schedulers on one database; all are killed at the end of the block."""

    COUNT = 3

    def __init__(self, scene: Scene, postgres: PostgresServer, folder: Path) -> None:
        #: How often each due time was sent.
        self.sent: Counter[str] = Counter()
        self._scene = scene
        self._folder = folder
        self._stack = ExitStack()
        self._programs: list[Program] = []
        self._started = 0
        #: Touched by each of them.
        self.liveness_file = folder / 'alive'
        backend = postgres.backend_url
        self._arguments = (
            *('-c', PROGRAM, scene.sqs.url, scene.prefix, backend),
            *(f'every-{scene.prefix}', str(EVERY.total_seconds())),
        )
        scene.declare(scene.app())
        migrate(Celery(backend=backend, set_as_current=False))

    def __enter__(self) -> Schedulers:
        for _ in range(self.COUNT):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            for program in self._programs:
                program.ends(signal.SIGKILL)
        self._collect()

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more due times are sent."""
        wanted = len(self.sent) + count
        wait_until(lambda: self._collect() >= wanted, f'{count} more are sent', timeout=60)

    def kill_one(self) -> None:
        """Kill one of three that are up, and start another."""
        for program in self._programs:
            wait_until(lambda p=program: 'started: ' in p.log, 'it is up', timeout=60)
        victim = self._programs.pop(random.randrange(self.COUNT))
        victim.ends(signal.SIGKILL)
        self._start()

    def _start(self) -> None:
        self._started += 1
        log = self._folder / f'scheduler-{self._started}.log'
        own = {'LIVENESS_FILE': str(self.liveness_file)}
        self._programs.append(self._stack.enter_context(running(self._arguments, own, log)))

    def _collect(self) -> int:
        self.sent.update(headers['scheduled_for'] for headers in headers_of(self._scene))
        return len(self.sent)
