"""Prometheus metrics that are right across the pool's processes.

Each process keeps its values in files of its own under PROMETHEUS_MULTIPROC_DIR, and the web
server adds them up at every scrape. Define metrics in a module of this package: its import is what
has the client keep them so.
"""

import os

from prometheus_client import values

from app.config.configuration import load_config

_folder = load_config().prometheus_multiproc_dir
_folder.mkdir(parents=True, exist_ok=True)
os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(_folder)


class _Process:
    """Which process this is, known without asking the kernel at each count."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        os.register_at_fork(after_in_child=self._forked)

    def __call__(self) -> int:
        return self.pid

    def _forked(self) -> None:
        self.pid = os.getpid()


values.ValueClass = values.MultiProcessValue(_Process())
