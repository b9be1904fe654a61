"""Prometheus metrics that are right across the pool's processes.

Each process keeps its values in files of its own under PROMETHEUS_MULTIPROC_DIR, and the web
server adds them up at every scrape. A pool process continues the files of the one that it replaces,
so there are as many as the pool has slots, however many processes are recycled.

Define metrics by `counter`, `gauge` and `histogram`: the import of this package selects the
client's multiprocess mode. A metric counts in every process that imports its module:

    ORDERS = counter('orders_charged', 'Orders charged, by currency.', 'currency')
    ORDERS.labels('EUR').inc()
"""

import os
from collections.abc import Sequence
from functools import partial
from operator import getitem
from typing import Any, NamedTuple

from billiard import current_process
from celery import signals
from prometheus_client import Counter, Gauge, Histogram, values

from be_queue.worker.settings import current

__all__ = ['Definition', 'counter', 'definitions', 'gauge', 'histogram']

_PREFIX = current().prefix
_folder = current().prometheus_multiproc_dir
_folder.mkdir(parents=True, exist_ok=True)
os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(_folder)

# Names the files of this process: by its slot in the pool, elsewhere by its id.
_name = [str(os.getpid())]


def _use_pid() -> None:
    # Not in a process that a task forks: its file would be one more for good.
    if current_process().name == 'MainProcess':
        _name[:] = [str(os.getpid())]


# Connected before every handler that counts, since those import this package.
@signals.worker_process_init.connect
def _use_slot(**_: Any) -> None:
    # The pool fills a slot again only after it has seen its process end.
    _name[:] = [f'{os.getppid()}-{current_process().index}']


os.register_at_fork(after_in_child=_use_pid)
# Asked with every count, so without code of ours.
values.ValueClass = values.MultiProcessValue(partial(getitem, _name, 0))


class Definition(NamedTuple):
    """A row of docs/metrics.md; the name is that in Prometheus, without METRICS_PREFIX."""

    name: str
    kind: str
    labels: Sequence[str]
    what: str


#: Every metric that this process has defined.
definitions: list[Definition] = []


def counter(name: str, what: str, *labels: str) -> Counter:
    """Return a counter with METRICS_PREFIX in its name, which the client ends in ``_total``.

    Arguments:
        what: its help; short, since it is a part of each value's key.
        labels: the names of labels, whose values must be few.
    """
    definitions.append(Definition(f'{name}_total', 'counter', labels, what))
    return Counter(f'{_PREFIX}_{name}', what, labels)


def histogram(name: str, what: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    """Return a histogram; ``buckets`` are upper bounds, in base units. See `counter`."""
    definitions.append(Definition(name, 'histogram', labels, what))
    return Histogram(f'{_PREFIX}_{name}', what, labels, buckets=buckets)


def gauge(name: str, what: str, *labels: str) -> Gauge:
    """Return a gauge with the last value that a living process has set. See `counter`."""
    definitions.append(Definition(name, 'gauge', labels, what))
    return Gauge(f'{_PREFIX}_{name}', what, labels, multiprocess_mode='livemostrecent')
