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

from be_queue.worker.settings import current

_folder = current().prometheus_multiproc_dir
_folder.mkdir(parents=True, exist_ok=True)
os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(_folder)

# In a pool process its slot; None elsewhere.
_slot: str | None = None


# Connected before every handler that counts, since those import this package.
@signals.worker_process_init.connect
def _use_slot(**_: Any) -> None:
    # The pool fills a slot again only after it has seen its process end.
    global _slot
    _slot = f'{os.getppid()}-{current_process().index}'


# Names the files of a process.
values.ValueClass = values.MultiProcessValue(lambda: _slot or os.getpid())
