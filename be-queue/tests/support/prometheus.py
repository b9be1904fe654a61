"""A real Prometheus with the configuration of deploy/prometheus: Debian's package `prometheus`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from be_queue.testing.ports import free_port
from be_queue.testing.waiting import wait_until

__all__ = ['FOLDER', 'INSTALLED', 'PrometheusServer', 'running_prometheus', 'version']

#: The configuration that is shipped.
FOLDER = Path(__file__).resolve().parents[3] / 'deploy' / 'prometheus'
#: Whether the package's programs are there.
INSTALLED = all(shutil.which(program) for program in ('prometheus', 'promtool'))


def version() -> str:
    """Return the server's version, or that its tests are left out."""
    if not INSTALLED:
        return 'not installed: its tests are left out (apt-get install prometheus)'
    said = subprocess.run(['prometheus', '--version'], capture_output=True, text=True, check=True)
    number = re.search(r'version (\S+)', said.stdout + said.stderr)
    return f'{number[1] if number else "?"} ({shutil.which("prometheus")})'


class PrometheusServer:
    """Prometheus on a port of loopback, by its HTTP API."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.url = f'http://127.0.0.1:{port}'
        self._process = process
        self._log_path = log_path

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log_path.read_text()

    def ready(self) -> bool:
        """Return whether it answers queries."""
        assert self._process.poll() is None, f'Prometheus ended:\n{self.log}'
        try:
            with urllib.request.urlopen(f'{self.url}/-/ready', timeout=5):
                return True
        except OSError:
            return False

    def api(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; fail with the error of a refused request."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f'{self.url}/api/v1/{path}?{query}', timeout=10) as answer:
                return json.load(answer)['data']
        except urllib.error.HTTPError as error:
            raise AssertionError(f'{path} {parameters}: {error.read().decode()}') from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        samples: list[dict[str, Any]] = self.api('query', query=expression)['result']
        return samples

    def value(self, expression: str) -> float | None:
        """Return the value of an expression with one sample at most; None when it has none."""
        samples = self.query(expression)
        assert len(samples) < 2, samples
        return float(samples[0]['value'][1]) if samples else None

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """Return the alerts that fire, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self.api('alerts')['alerts']:
            if alert['state'] == 'firing':
                found.setdefault(alert['labels']['alertname'], []).append(alert)
        return found


def _quick(folder: Path, target: str) -> Path:
    """Copy the shipped configuration with one target and short times; return its main file."""
    (folder / 'rules').mkdir(parents=True)
    text = (FOLDER / 'prometheus.yml').read_text()
    text, targets = re.subn(r'(?<=- )worker:8080$', target, text, flags=re.MULTILINE)
    assert targets == 1
    text = re.sub(r'^( +\w+_(?:interval|timeout):) \d+s$', r'\1 1s', text, flags=re.MULTILINE)
    for path in (FOLDER / 'rules').iterdir():
        rules = re.sub(r'^( +for:) \w+$', r'\1 0s', path.read_text(), flags=re.MULTILINE)
        (folder / 'rules' / path.name).write_text(rules)
    main = folder / 'prometheus.yml'
    main.write_text(text)
    return main


@contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[PrometheusServer]:
    """Run Prometheus with the shipped rules and thresholds; end it with the block.

    Its intervals are a second, and alerts fire at once.

    Arguments:
        folder: for its files; it is made.
        target: host and port to scrape.
    """
    config, port = _quick(folder, target), free_port()
    log_path = folder / 'log'
    with log_path.open('wb') as log:
        process = subprocess.Popen(
            [
                'prometheus',
                f'--config.file={config}',
                f'--storage.tsdb.path={folder / "data"}',
                f'--web.listen-address=127.0.0.1:{port}',
                '--log.level=warn',
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = PrometheusServer(port, process, log_path)
    try:
        wait_until(server.ready, 'Prometheus is ready')
        yield server
    except BaseException:
        print(server.log)  # noqa: T201  (pytest shows it with the failure)
        raise
    finally:
        process.kill()
        process.wait()
