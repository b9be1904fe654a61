"""Prometheus metrics that are right across the pool's processes.

Each process keeps its values in files of its own under PROMETHEUS_MULTIPROC_DIR, and the web
server adds them up at every scrape. A pool process continues the files of the one that it replaces,
so there are as many as the pool has slots, however many processes are recycled.

Define metrics in a module of this package: its import selects the client's multiprocess mode.
"""

import os
from typing import Any

from billiard import current_process
from celery import signals
from prometheus_client import values

from app.config.configuration import load_config

_folder = load_config().prometheus_multiproc_dir
_folder.mkdir(parents=True, exist_ok=True)
os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(_folder)


class _ProcessName:
    """The name of this process in the names of its files: its pid, or its slot in the pool."""

    def __init__(self) -> None:
        self._set_pid()
        os.register_at_fork(after_in_child=self._set_pid)

    def __call__(self) -> str:
        return self.name

    def _set_pid(self) -> None:
        self.name = str(os.getpid())


_process_name = _ProcessName()


# Connected before every handler that counts, since those import this package.
@signals.worker_process_init.connect
def _use_slot(**_: Any) -> None:
    # The pool fills a slot again only after it has seen its process end.
    _process_name.name = f'{os.getppid()}-{current_process().index}'


values.ValueClass = values.MultiProcessValue(_process_name)
