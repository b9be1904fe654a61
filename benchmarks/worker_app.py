"""The app of a worker or producer that is measured: its contender is in the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Task

from benchmarks.contenders import CONTENDERS, TASK, celery_app
from benchmarks.records import Recorder
from benchmarks.switch import switch_off, switch_on

app = celery_app(
    CONTENDERS[os.environ['BENCH_CONTENDER']],
    os.environ['BENCH_BROKER'],
    os.environ['BENCH_QUEUES'].split(','),
)
records_path = Path(os.environ['BENCH_RECORDS'])
recorder = Recorder(records_path)
# Of the template's workers alone.
metrics = os.environ.get('BENCH_METRICS')
if metrics == 'on':
    switch_on(app)
elif metrics == 'off':
    switch_off()


@app.task(bind=True, name=TASK)
def noop(self: Task[Any, Any]) -> None:
    """Report that it ran."""
    recorder.add(self.request.id, time.monotonic())
