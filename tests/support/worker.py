"""The whole server, as a user starts it: supervisor, web server, prefork worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from be_queue import Config, Queue, Queues
from tests.support.ports import free_port
from tests.support.process import bare_environment
from tests.support.tree import children, command_line, descendants, kill
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
METRIC = re.compile(r'^(\w+)\{(.*)\} (\S+)$')


class Server:
    """A running ``app/server.py``."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
        self.process = process
        self.url = url
        self._log_path = log_path

    @property
    def log(self) -> str:
        """What all its processes have written so far."""
        return self._log_path.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET request; 0 and the reason when nobody answers."""
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

    def wait_ready(self) -> None:
        """Wait until it consumes."""

        def ready() -> bool:
            assert self.process.poll() is None, f'the server ended:\n{self.log}'
            return self.get('/readyz')[0] == 200

        wait_until(ready, f'the server is ready; its log is in {self._log_path}')

    def metric(self, name: str, /, **labels: str) -> float:
        """Return the sum of a metric's values over all samples that have these labels."""
        total = 0.0
        for line in self.get('/metrics')[1].splitlines():
            sample = METRIC.match(line)
            if sample and sample[1] == f'python_backend_worker_template_{name}':
                found = dict(pair.split('=', 1) for pair in sample[2].split(','))
                if all(found[label] == f'"{value}"' for label, value in labels.items()):
                    total += float(sample[3])
        return total

    def processes(self) -> dict[int, str]:
        """Return pid and command line of every process below the server."""
        return descendants(self.process.pid)

    def pid_of(self, what: str) -> int:
        """Return the pid of the one child of the server whose command line holds ``what``."""
        (pid,) = (pid for pid in children(self.process.pid) if what in command_line(pid))
        return pid

    def pool_pids(self) -> list[int]:
        """Return the pids of the pool's processes."""
        return children(self.pid_of('celery'))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait_ended(self, timeout: float = 30.0) -> int:
        """Wait until the supervisor has ended; return its exit status."""
        return self.process.wait(timeout)


class Site:
    """One worker's surroundings: an SQS server, a database, queue names that nobody else uses."""

    def __init__(self, folder: Path, sqs_url: str, database: Mapping[str, str]) -> None:
        self.folder = folder
        self.username = f't{uuid.uuid4().hex[:10]}'
        self.environment = {
            **bare_environment(),
            'ENV': 'local',
            'USERNAME': self.username,
            'SQS_ENDPOINT_URL': sqs_url,
            'CELERY_WORKER_CONCURRENCY': '2',
            **database,
        }
        self._servers = 0

    def queue(self, name: str) -> str:
        """Return the name on SQS of one of the template's queues."""
        return f'{self.username}-local-python-backend-worker-template-{name}'

    def producer(self, **settings: Any) -> Celery:
        """Return an app that sends the template's tasks and reads their results."""
        from app.config.queues import QUEUES

        queues = Queues(
            Queue(queue_name=queue.queue_name, task=queue.task) for queue in QUEUES
        ).build_celery('local', username=self.username)
        app = Celery(set_as_current=False)
        env = self.environment
        app.config_from_object(
            Config(
                queues,
                SQS_ENDPOINT_URL=env['SQS_ENDPOINT_URL'],
                # The tests' own tasks go to the queue of Celery's.
                ALLOW_UNMAPPED_TASKS=True,
                **{name: value for name, value in env.items() if name.startswith('RESULT_DB_')}
                | settings,
            )
        )
        return app

    @contextmanager
    def server(
        self,
        *,
        wait: bool = True,
        wrap: Callable[[list[str]], list[str]] = lambda command: command,
        **variables: Any,
    ) -> Iterator[Server]:
        """Start a server; on leaving, kill what is left of it and show its log on failure.

        Arguments:
            wait: wait until it is ready.
            wrap: turns its command into another that runs it.
            variables: more environment variables.
        """
        self._servers += 1
        folder = self.folder / f'server-{self._servers}'
        folder.mkdir()
        port = free_port()
        environment = {
            **self.environment,
            'SERVER_PORT': str(port),
            'PROMETHEUS_MULTIPROC_DIR': str(folder / 'metrics'),
            **{name: str(value) for name, value in variables.items()},
        }
        log_path = folder / 'log'
        command = wrap([sys.executable, str(ROOT / 'app' / 'server.py')])
        with log_path.open('wb') as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        server = Server(process, f'http://127.0.0.1:{port}', log_path)
        try:
            if wait:
                server.wait_ready()
            yield server
        except BaseException:
            print(server.log)  # noqa: T201  (pytest shows it with the failure)
            raise
        finally:
            left = list(server.processes())
            for pid in (process.pid, *left):
                kill(pid)
            process.wait()
