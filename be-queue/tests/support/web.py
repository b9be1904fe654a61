"""The web server alone, as gunicorn runs it."""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from be_queue.testing.ports import accepts, free_port
from be_queue.testing.waiting import wait_until
from tests.support.process import Program, running

__all__ = ['WebSite']

LOGGER = ('--logger-class', 'be_queue.worker.logs.gunicorn.Logger')
SERVER = ('-m', 'gunicorn', '--threads', '4', *LOGGER, '--no-control-socket')


class WebSite:
    """A web server with queues and a metrics directory of its own."""

    def __init__(self, sqs_url: str, results: Mapping[str, str], folder: Path) -> None:
        self.folder = folder
        self.username = f'd{uuid.uuid4().hex[:10]}'
        self.metrics = folder / 'metrics'
        self.metrics.mkdir()
        self.port = free_port()
        self.environment = {
            'ENV': 'local',
            'USERNAME': self.username,
            'SERVICE_NAME': 'orders & returns',
            'SQS_ENDPOINT_URL': sqs_url,
            'PROMETHEUS_MULTIPROC_DIR': str(self.metrics),
            **results,
        }

    @contextmanager
    def server(self, app: str = 'app.web:create_app()', **variables: str) -> Iterator[Program]:
        """Run it with more ``variables`` of the environment until the end of the block."""
        arguments = (*SERVER, '--bind', f'127.0.0.1:{self.port}', app)
        with running(arguments, self.environment | variables, self.folder / 'web.log') as program:
            wait_until(lambda: accepts(self.port), 'the web server listens')
            yield program

    def get(self, path: str = '/', status: int = 200) -> tuple[str, Mapping[str, str]]:
        """Return the page and its headers once it has this status.

        It says 503 when a query takes longer than a page waits, as on a busy machine.
        """

        def answered() -> tuple[str, Mapping[str, str]] | None:
            connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
            with closing(connection):
                connection.request('GET', path)
                answer = connection.getresponse()
                text = answer.read().decode()
            return (text, answer.headers) if answer.status == status else None

        return wait_until(answered, f'{path} answers {status}')

    def wait_for(self, text: str) -> str:
        """Return the page once it holds ``text``: probes may be late for the first ones."""
        return wait_until(
            lambda: page if text in (page := self.get()[0]) else None, f'the page says {text!r}'
        )

    def queue(self, name: str) -> str:
        """Return the name on SQS of one of the template's queues."""
        return f'{self.username}-local-python-backend-worker-template-{name}'
