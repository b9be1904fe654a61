"""Writes docs/metrics.md, the table of all metrics, from the code that defines them.

python -m app.web.metrics_table
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import app.utils
import app.web
from app.config.configuration import load_config
from app.utils.metrics.metrics import REGISTRY
from app.web.metrics import collectors

__all__ = ['PAGE', 'page']

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'metrics.md'

_HEAD = """# Metrics

Made from the code by `python -m app.web.metrics_table`: do not edit.

`GET /metrics` adds up what all processes have counted since the start. `{prefix}` is
`METRICS_PREFIX`, by default `SERVICE_NAME` with `_`. Times are in seconds.

* `name` is the task's name and `queue` the queue's on SQS. What the worker does not know is
  `unknown`, so that strangers' messages cannot add values without bound.
* `state` of a task is Celery's, as in the column `status` of the results. `worker_tasks_count`
  counts attempts, `tasks_finished` each task once: one whose message goes back to its queue has
  not finished.
* `exception` is the class's name. `operation` is SQS's name for what it was asked; a request that
  cannot be signed, for want of credentials, counts as `denied`.
* `worker_heartbeat_age_seconds` and `poller_*` are there while the worker consumes: not while it
  starts, nor while it stops and waits for its last tasks.
* `pool_processes_lost` tells apart `recycled` (after `CELERY_WORKER_MAX_TASKS_PER_CHILD` tasks),
  `memory` (above `CELERY_WORKER_MAX_MEMORY_PER_CHILD`), `time limit` (killed with its task),
  `signal` (killed by anybody else: by the kernel, when memory is short) and `exit` (a task ended
  it). Those that end with the worker are not lost.
* `queue_oldest_message_age_estimate_seconds` is an estimate, since SQS gives no such number:
  other workers may hold older messages, and while a queue is not polled nothing new is known. Of
  several workers, the alert takes the largest age at their last receives and adds the time since
  any of them received.

| metric | type | labels | what |
|---|---|---|---|
"""


@dataclass(frozen=True)
class _Row:
    name: str
    type: str
    labels: Iterable[str]
    what: str

    def __str__(self) -> str:
        labels = ', '.join(f'`{label}`' for label in self.labels)
        return f'| `{self.name}` | {self.type} | {labels} | {self.what} |'


def page() -> str:
    """Return the page as it must be."""
    _import_all(app.utils)
    _import_all(app.web)
    config = load_config()
    known = [metric for metric in REGISTRY._collector_to_names if hasattr(metric, '_labelnames')]
    collected = [
        family
        for own in collectors(config)
        for family in own.describe()  # type: ignore[attr-defined]  # the base class has none
    ]
    rows = [_row(metric, config.prefix) for metric in (*known, *collected)]
    ours = {row.name: str(row) for row in rows if row.name.startswith('{prefix}_')}
    return _HEAD + ''.join(f'{ours[name]}\n' for name in sorted(ours))


def _row(metric: Any, prefix: str) -> _Row:
    (description,) = metric.describe() if hasattr(metric, 'describe') else (metric,)
    name = description.name
    if name.startswith(f'{prefix}_'):
        name = '{prefix}' + name[len(prefix) :]
    ending = '_total' if description.type == 'counter' else ''
    return _Row(name + ending, description.type, metric._labelnames, description.documentation)


def _import_all(package: Any) -> None:
    """Import every module: a metric is known once its module is."""
    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
        if module.name != __name__ and not module.name.endswith(('__main__', '.metrics_table')):
            import_module(module.name)


if __name__ == '__main__':
    PAGE.write_text(page())
    sys.stdout.write(f'{PAGE}\n')
