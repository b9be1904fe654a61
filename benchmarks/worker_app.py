"""The app of a worker or producer that is measured: its contender is in the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

from benchmarks.contenders import CONTENDERS, TASK, celery_app
from benchmarks.records import Recorder


def as_the_template(app: Celery) -> None:
    """Have a worker do what `app.worker` has it do."""
    from app.config.configuration import load_config
    from app.utils import celery_signals, heartbeat, result_store  # which connects the handlers

    celery_signals.pool.install(app)
    heartbeat.install(app, load_config().heartbeat_path)
    result_store.install(app)


def without_metrics() -> None:
    """Have a worker count nothing, for which there is no setting."""
    from app.utils.transport import Channel
    from be_queue.transport import Observer

    Channel.observer = Observer()


app = celery_app(
    CONTENDERS[os.environ['BENCH_CONTENDER']],
    os.environ['BENCH_BROKER'],
    os.environ['BENCH_QUEUES'].split(','),
    os.environ['BENCH_RESULTS'],
)
records_path = Path(os.environ['BENCH_RECORDS'])
recorder = Recorder(records_path)
# Of the template's workers alone.
metrics = os.environ.get('BENCH_METRICS')
if metrics == 'on':
    as_the_template(app)
elif metrics == 'off':
    without_metrics()


@app.task(bind=True, name=TASK)
def noop(self: Task[Any, Any]) -> None:
    """Report that it ran."""
    recorder.add(self.request.id, time.monotonic())
