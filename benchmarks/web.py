"""The template's web server, beside a worker that is measured."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.contenders import ENV, REGION
from benchmarks.errors import BenchmarkError
from benchmarks.processes import ROOT, Site
from tests.support.ports import free_port
from tests.support.tree import children, kill

__all__ = ['Web', 'running_web']

#: Scrapes of one measurement.
SCRAPES = 50
#: Seconds until it must answer.
LATEST = 60.0


class Web:
    """A web server that runs."""

    def __init__(self, port: int) -> None:
        self._url = f'http://127.0.0.1:{port}/metrics'

    def scrape(self) -> str:
        """Return the metrics."""
        with urllib.request.urlopen(self._url, timeout=LATEST) as answer:
            text: str = answer.read().decode()
        return text

    def scrape_seconds(self) -> float:
        """Return how long a scrape takes, the median of some."""
        return median(self._timed() for _ in range(SCRAPES))

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric, by the end of its name, with these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
            if sample.name.endswith(f'_{name}') and labels.items() <= sample.labels.items()
        )

    def _timed(self) -> float:
        started = time.perf_counter()
        self.scrape()
        return time.perf_counter() - started


@contextmanager
def running_web(site: Site) -> Iterator[Web]:
    """Start the web server on the metrics of a site's worker; kill it at the end."""
    port = free_port()
    settings = {
        'ENV': ENV,
        'AWS_REGION': REGION,
        'SQS_ENDPOINT_URL': site.broker_url,
        'PLATFORM_QUEUE_NAME': '',
        'CELERY_RESULT_BACKEND': 'disabled://',
        'QUEUE_DEPTH_INTERVAL': '0',
    }
    log_path = site.folder / 'web.log'
    with log_path.open('wb') as log:
        process = subprocess.Popen(
            [
                *(sys.executable, '-m', 'gunicorn', '--bind', f'127.0.0.1:{port}'),
                *('--threads', '4', '--no-control-socket', 'app.web:create_app()'),
            ],
            cwd=ROOT,
            env=site.environment | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    web = Web(port)
    try:
        deadline = time.monotonic() + LATEST
        while not _answers(web):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f'{log_path.read_text()}\nthe web server does not answer')
            time.sleep(0.1)
        yield web
    finally:
        for pid in (*children(process.pid), process.pid):
            kill(pid)
        process.wait()


def _answers(web: Web) -> bool:
    try:
        web.scrape()
    except (urllib.error.URLError, OSError):
        return False
    return True
