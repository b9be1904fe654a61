"""The real server with tasks that count how often they run, and a producer that keeps it busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.naming import dead_letter_name
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import POLL_INTERVAL, wait_until
from tests.support.counting import TASK, Runs
from tests.support.worker import Server, Site, Worker

__all__ = ['TRANSPORT', 'Counted', 'Tally']

QUEUE = 'slow'
TRANSPORT = 'be_queue.transport:Transport'


@dataclass(frozen=True)
class Tally:
    """The outcomes of tasks: every number counts tasks or runs."""

    #: Those that SQS confirmed.
    sent: int
    #: Those whose sender got an error; they may run all the same.
    refused: int
    #: Those that came to their end at least once.
    run: int
    #: Ends that were not the first of their task.
    duplicates: int
    #: Starts without an end.
    cut_short: int
    #: Those sent that did not come to an end.
    lost: int
    #: Those in the dead-letter queue.
    dead: int


class Counted:
    """A worker's surroundings whose tasks are counted.

    Arguments:
        site: where the worker runs.
        sqs: the SQS server, without a proxy.
        queue: short name of the template's queue that they go to.
        first: number of the first task; two in one place must not have the same.
    """

    def __init__(self, site: Site, sqs: SqsServer, queue: str = QUEUE, first: int = 0) -> None:
        self.site, self.sqs = site, sqs
        self.runs = Runs(site.folder / f'runs-{site.username}')
        self.queue = site.queue(queue)
        self.sent: set[int] = set()
        self.refused: set[int] = set()
        self._next = first
        self._variables = {
            'CELERY_IMPORTS': ('tests.support.counting',),
            'RUNS_FILE': self.runs.path,
            'PLATFORM_QUEUE_NAME': '',
        }

    def server(self, *, wait: bool = True, **variables: Any) -> AbstractContextManager[Server]:
        """Start the server with the counting task; arguments are those of `Site.server`."""
        return self.site.server(wait=wait, **self._variables | variables)

    def worker(self, **variables: Any) -> AbstractContextManager[Worker]:
        """Start the worker alone, with the counting task; arguments are those of `Site.worker`."""
        return self.site.worker(**self._variables | variables)

    def app(self, sqs_url: str = '') -> Celery:
        """Return a producer's app with the transport that is tested."""
        name = self.queue.removeprefix(f'{self.site.username}-local-')
        queues = Queues([Queue(queue_name=name, task=TASK)]).build_celery(
            'local', username=self.site.username, platform_queue_name=''
        )
        app = Celery(set_as_current=False)
        app.config_from_object(
            Config(
                queues,
                SQS_ENDPOINT_URL=sqs_url or self.sqs.url,
                result_backend='disabled://',
                broker_transport=TRANSPORT,
            )
        )
        return app

    def send(self, count: int, seconds: float = 0.0, **options: Any) -> None:
        """Send tasks that take ``seconds`` each."""
        with self.sender() as send:
            for _ in range(count):
                send(seconds, **options)

    @contextmanager
    def sender(self, sqs_url: str = '') -> Iterator[Callable[..., None]]:
        """Yield a function that sends one task, given the seconds that it takes and options."""
        app = self.app(sqs_url)
        with app.connection_for_write() as connection:
            producer = app.amqp.Producer(connection, auto_declare=False)
            yield partial(self._send_one, app, producer)

    @contextmanager
    def kept_busy(self, backlog: int, seconds: float, sqs_url: str = '') -> Iterator[None]:
        """Send on, so that about ``backlog`` tasks wait all the time, until the end of the block.

        A send that fails is counted as refused, and others follow.
        """
        stop = threading.Event()

        def keep_busy() -> None:
            with self.sender(sqs_url) as send:
                while not stop.is_set():
                    if len(self.sent) - self.ended() >= backlog:
                        stop.wait(POLL_INTERVAL)
                        continue
                    try:
                        send(seconds)
                    except Exception:  # noqa: BLE001  (whatever it is, it is counted)
                        stop.wait(POLL_INTERVAL)

        thread = threading.Thread(target=keep_busy, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)

    @contextmanager
    def sending(self, count: int, seconds: float) -> Iterator[None]:
        """Send ``count`` tasks in the background; wait for it at the end of the block."""
        thread = threading.Thread(target=self.send, args=(count, seconds), daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join(120)

    def ended(self) -> int:
        """Return how many of the tasks sent have come to their end."""
        return len(self.sent & self.runs.ends.keys())

    def rate(self, until: float, window: float) -> float:
        """Return tasks ended per second, in the ``window`` seconds before a time of the epoch."""
        log = self.runs.log
        return sum(until - window < run.time <= until for run in log[-20_000:]) / window

    def wait_all_run(self, timeout: float = 90.0) -> None:
        """Wait until every task sent has run and its message is deleted."""
        wait_until(lambda: self.ended() == len(self.sent), 'every task has run', timeout)
        wait_until(
            lambda: self.sqs.visible(self.queue) == self.sqs.in_flight(self.queue) == 0,
            'every message is deleted',
            timeout,
        )

    def tally(self) -> Tally:
        """Return what became of the tasks so far."""
        starts, ends = self.runs.starts, self.runs.ends
        dead = dead_letter_name(self.queue)
        return Tally(
            sent=len(self.sent),
            refused=len(self.refused),
            run=len(ends),
            duplicates=self.runs.duplicates,
            cut_short=starts.total() - ends.total(),
            lost=len(self.sent - ends.keys()),
            dead=self.sqs.visible(dead) if dead in self.sqs.queue_names() else 0,
        )

    def _send_one(self, app: Celery, producer: Any, seconds: float = 0.0, **options: Any) -> None:
        number, self._next = self._next, self._next + 1
        try:
            app.send_task(TASK, (number, seconds), producer=producer, **options)
        except Exception:
            self.refused.add(number)
            raise
        self.sent.add(number)
