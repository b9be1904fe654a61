"""A service's programs, started as a user starts them: the whole server, or the worker alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from celery import Celery
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from be_queue import Config, Queue, Queues
from be_queue.testing.ports import free_port
from be_queue.testing.processes import bare_environment, children, descendants, kill
from be_queue.testing.waiting import wait_until
from be_queue.worker.settings import Settings
from be_queue.worker.web.metrics import HeartbeatCollector, ProcessCollector

__all__ = ['Server', 'Service', 'Site', 'Worker']

WORKER_FLAGS = ('--loglevel=INFO', '--without-gossip', '--without-mingle', '--without-heartbeat')

T = TypeVar('T', bound='Worker')


@dataclass(frozen=True)
class Service:
    """The service under test.

    Arguments:
        config: its settings; `Site` uses the root folder and the metrics' prefix.
        queues: its queue-task mapping, as in ``app/config/queues.py``.
    """

    config: Settings
    queues: Queues


class Worker:
    """A running ``celery worker``; it starts four times as fast as the whole server."""

    def __init__(self, site: Site, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.site = site
        self.process = process
        self.folder = folder

    @property
    def log(self) -> str:
        """The output of all its processes so far."""
        return (self.folder / 'log').read_text()

    def wait_ready(self) -> None:
        """Wait until it consumes."""

        def ready() -> bool:
            assert self.process.poll() is None, f'it ended:\n{self.log}'
            return self._is_ready()

        wait_until(ready, f'it is ready; its log is in {self.folder}', timeout=60)

    def metric(self, name: str, /, **labels: str) -> float:
        """Return the sum of a metric's values over all samples that have these labels."""
        return self._total(self._metrics(), name, labels)

    def counts_from_now(self) -> Callable[..., float]:
        """Return a function like `metric` that leaves out earlier counts."""
        before = list(self._metrics())
        return lambda name, /, **labels: (
            self.metric(name, **labels) - self._total(before, name, labels)
        )

    def processes(self) -> dict[int, str]:
        """Return pid and command line of every process below the one started."""
        return descendants(self.process.pid)

    def pid_of(self, what: str) -> int:
        """Return the pid of the process with ``what`` in its command line: here, the worker's."""
        assert self.process.poll() is None, f'it ended:\n{self.log}'
        return self.process.pid

    def pool_pids(self) -> list[int]:
        """Return the pids of the pool's processes."""
        return children(self.pid_of('celery'))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process started."""
        self.process.send_signal(number)

    def wait_ended(self, timeout: float = 30.0) -> int:
        """Wait until the process started has ended; return its exit status."""
        return self.process.wait(timeout)

    def _is_ready(self) -> bool:
        return ' ready.' in self.log

    def _metrics(self) -> Iterable[Metric]:
        folder = self.folder / 'metrics'
        heartbeat = HeartbeatCollector(folder / 'worker.json', self.site.service.config.prefix)
        return [*ProcessCollector(folder).collect(), *heartbeat.collect()]

    def _total(self, metrics: Iterable[Metric], name: str, labels: Mapping[str, str]) -> float:
        full_name = f'{self.site.service.config.prefix}_{name}'
        samples = (sample for metric in metrics for sample in metric.samples)
        return sum(
            sample.value
            for sample in samples
            if sample.name == full_name and labels.items() <= sample.labels.items()
        )


class Server(Worker):
    """A running ``app/server.py``: supervisor, web server, monitor and worker."""

    def __init__(
        self, site: Site, process: subprocess.Popen[bytes], folder: Path, port: int
    ) -> None:
        super().__init__(site, process, folder)
        self.url = f'http://127.0.0.1:{port}'

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET request; 0 and the error when there is no answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def health(self, path: str) -> tuple[int, dict[str, str]]:
        """Return status and checks of ``/healthz`` or ``/readyz``."""
        status, body = self.get(path)
        return status, json.loads(body)['checks'] if status else {}

    def pid_of(self, what: str) -> int:
        """Return the pid of the one child of the server with ``what`` in its command line."""
        below = self.processes()
        (pid,) = (pid for pid in children(self.process.pid) if what in below.get(pid, ''))
        return pid

    def _is_ready(self) -> bool:
        # It logs that it is ready a little after the page says so: a signal may come in between.
        return 'the queues are on ' in self.log and self.get('/readyz')[0] == 200

    def _metrics(self) -> Iterable[Metric]:
        return text_string_to_metric_families(self.get('/metrics')[1])


class Site:
    """A service's surroundings: an SQS server, a database, queue names that nobody else uses.

    Arguments:
        service: its programs are started here.
        folder: for its files.
        sqs_url: where its queues are.
        database: ``RESULT_DB_*`` variables; without them results are in a local file.
    """

    def __init__(
        self, service: Service, folder: Path, sqs_url: str, database: Mapping[str, str]
    ) -> None:
        self.service = service
        self.folder = folder
        self.username = f't{uuid.uuid4().hex[:10]}'
        fields = type(service.config).model_fields
        self.environment = {
            **bare_environment(),
            # Values that conftest.py sets for required settings.
            **{name: value for name, value in os.environ.items() if name.lower() in fields},
            'ENV': 'local',
            'USERNAME': self.username,
            'SQS_ENDPOINT_URL': sqs_url,
            'CELERY_WORKER_CONCURRENCY': '2',
            **database,
        }
        self._started = 0

    @property
    def queues(self) -> Queues:
        """The service's mapping, built with the queue names of this site."""
        return Queues(
            Queue(queue_name=queue.queue_name, task=queue.task) for queue in self.service.queues
        ).build_celery('local', username=self.username)

    def queue(self, task: str) -> str:
        """Return the name on SQS of the queue of a task."""
        queues = self.queues
        return next(queues.sqs_name(queue) for queue in queues if queue.task == task)

    def producer(self, **settings: Any) -> Celery:
        """Return an app that sends the service's tasks and reads their results.

        Arguments:
            settings: of its `be_queue.Config`.
        """
        env = self.environment
        defaults = {
            'SQS_ENDPOINT_URL': env['SQS_ENDPOINT_URL'],
            'RESULT_BACKEND_TIMEOUT': 30,  # a busy machine is no outage
            **{name: value for name, value in env.items() if name.startswith('RESULT_DB_')},
        }
        app = Celery(set_as_current=False)
        app.config_from_object(Config(self.queues, **defaults | settings))
        return app

    def server(
        self, *, wait: bool = True, prefix: Sequence[str] = (), **variables: Any
    ) -> AbstractContextManager[Server]:
        """Start ``app/server.py``; leave the block to kill it. Its log is shown on failure.

        Arguments:
            wait: wait until it is ready.
            prefix: a command that runs the server's, which follows it.
            variables: more environment variables.
        """
        port = free_port()
        command = [*prefix, sys.executable, str(self.service.config.root / 'app' / 'server.py')]
        variables = {'SERVER_PORT': port, **variables}
        return self._running(partial(Server, port=port), command, None, wait, variables)

    def worker(
        self, *flags: str, wait: bool = True, app: str = 'app.worker', **variables: Any
    ) -> AbstractContextManager[Worker]:
        """Start a worker without the rest of the server; leave the block to kill it.

        Arguments:
            flags: more arguments of ``celery worker``.
            wait: wait until it is ready.
            app: the module of the Celery app.
            variables: more environment variables.
        """
        command = [sys.executable, '-m', 'celery', '--quiet', '--app', app, 'worker']
        root = self.service.config.root
        return self._running(Worker, [*command, *WORKER_FLAGS, *flags], root, wait, variables)

    @contextmanager
    def _running(
        self,
        kind: Callable[[Site, subprocess.Popen[bytes], Path], T],
        command: list[str],
        where: Path | None,
        wait: bool,
        variables: Mapping[str, Any],
    ) -> Iterator[T]:
        self._started += 1
        folder = self.folder / f'started-{self._started}'
        (folder / 'metrics').mkdir(parents=True)
        environment = self.environment | {'PROMETHEUS_MULTIPROC_DIR': str(folder / 'metrics')}
        environment |= {name: str(value) for name, value in variables.items()}
        with (folder / 'log').open('wb') as log:
            process = subprocess.Popen(
                command, cwd=where or folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        started = kind(self, process, folder)
        try:
            if wait:
                started.wait_ready()
            yield started
        except BaseException:
            print(started.log)  # noqa: T201  (pytest shows it with the failure)
            raise
        finally:
            for pid in (process.pid, *started.processes()):
                kill(pid)
            process.wait()
