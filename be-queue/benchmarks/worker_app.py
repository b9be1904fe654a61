"""The app of a worker or producer that is measured: its contender is in the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

from benchmarks.contenders import CONTENDERS, TASK, celery_app
from benchmarks.records import Recorder


def install(app: Celery) -> None:
    """Give a worker everything that `app.worker` installs."""
    from app.config.configuration import load_config
    from be_queue.worker import (  # which connects the handlers
        celery_signals,
        heartbeat,
        result_store,
    )

    celery_signals.install(app)
    heartbeat.install(app, load_config().heartbeat_path)
    result_store.install(app)


contender = CONTENDERS[os.environ['BENCH_CONTENDER']]
app = celery_app(
    contender,
    os.environ['BENCH_BROKER'],
    os.environ['BENCH_QUEUES'].split(','),
    os.environ['BENCH_RESULTS'],
)
records_path = Path(os.environ['BENCH_RECORDS'])
recorder = Recorder(records_path)
if contender.is_ours and os.environ.get('BENCH_ROLE') == 'worker':
    install(app)


@app.task(bind=True, name=TASK)
def noop(self: Task[Any, Any]) -> None:
    """Report that it ran."""
    recorder.add(self.request.id, time.monotonic())
