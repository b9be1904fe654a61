"""``/``: the state of the worker and of its queues, the last hour, and the latest tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, cast

from celery import Celery, states
from flask import Blueprint, render_template

from be_queue import Queues
from be_queue.transport import poller
from be_queue.worker import heartbeat
from be_queue.worker.heartbeat import seconds_since
from be_queue.worker.history import History, Task, Worker
from be_queue.worker.local import first_task_command
from be_queue.worker.scheduler import Run, runs
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.web.dashboard.charts import HEIGHT, STEP, Chart, charts_of
from be_queue.worker.web.dashboard.page import Pages, Read
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check
from be_queue.worker.web.metrics import ProcessCollector

__all__ = ['add_page', 'queues_by_name']

TASKS_SHOWN = 10
#: States of a poller that does not ask for messages though the worker could take some.
HELD_BACK = (poller.State.THROTTLED.value, poller.State.BACKING_OFF.value)


def add_page(
    routes: Blueprint,
    pages: Pages,
    worker_config: WorkerConfig,
    celery_app: Celery,
    processes: ProcessCollector,
    depths: DepthPoller,
    history: History,
) -> None:
    """Add the route; the page comes within a second, also while servers are unavailable."""
    config = worker_config.APP
    mapping = cast(Queues, worker_config.QUEUES)
    queues = queues_by_name(worker_config)
    limits = {mapping.sqs_name(queue): queue.ratelimit for queue in mapping}
    platform = worker_config.TOPOLOGY.platform
    first_task = first_task_command(queues.values())

    def read_latest() -> list[Task]:
        return pages.shown(history.page(count=TASKS_SHOWN).tasks)

    def read_charts() -> list[Chart]:
        return charts_of(history.last_hour())

    latest: Read[list[Task]] = Read('tasks', read_latest, [])
    charts: Read[list[Chart]] = Read('last hour', read_charts, [])
    workers: Read[list[Worker]] = Read('workers', history.workers, [])
    schedule: Read[list[Run]] = Read('schedule', lambda: runs(celery_app), [])
    reads = (latest, charts, workers, schedule, Check('depths', depths.poll))

    @routes.get('/')
    def overview() -> str:
        faults = pages.faults(*reads)
        beat = heartbeat.read(config.heartbeat_path)
        pollers = beat.pollers if beat else {}
        counts = _counts(config.prefix, processes)
        rows: list[dict[str, Any]] = [
            {
                'task': task,
                'name': name,
                'depth': depths.depth(name),
                'counts': counts[name],
                'poller': pollers.get(name),
                'limit': limits.get(name),
            }
            for name, task in queues.items()
        ]
        known = [row['depth'] for row in rows if row['depth']]
        return render_template(
            'dashboard/overview.html',
            beat=beat,
            queues=rows,
            held_back=HELD_BACK,
            total=sum((counts[name] for name in queues), Counter()),
            waiting=sum(depth.visible for depth in known) if known else None,
            in_flight=sum(depth.in_flight for depth in known) if known else None,
            dead_letters=sum(depth.dead_letters or 0 for depth in known) if known else None,
            platform=platform,
            platform_depth=depths.depth(platform),
            charts=charts.value,
            chart_size=(60 * STEP, HEIGHT),
            workers=workers.value,
            schedule=schedule.value,
            tasks=latest.value,
            faults=faults,
            first_task=first_task,
            seconds_since=seconds_since,
        )


def queues_by_name(worker_config: WorkerConfig) -> dict[str, str]:
    """Return the queues that this worker consumes: names on SQS, each with its task."""
    queues = cast(Queues, worker_config.QUEUES)
    consumed = {queues.sqs_name(queue): queue.task for queue in queues if queue.consume}
    return consumed | {worker_config.TOPOLOGY.celery: "Celery's own"}


def _counts(prefix: str, processes: ProcessCollector) -> defaultdict[str, Counter[str]]:
    """Return by queue the tasks of each kind below, and the seconds that the attempts took."""
    wanted = {
        (f'{prefix}_consumer_tasks_count_total', states.RECEIVED): 'received',
        (f'{prefix}_worker_tasks_count_total', states.SUCCESS): 'succeeded',
        (f'{prefix}_worker_tasks_count_total', states.RETRY): 'retried',
        (f'{prefix}_worker_tasks_count_total', states.FAILURE): 'failed',
        # Tasks whose process was lost, or killed at the time limit.
        (f'{prefix}_consumer_tasks_count_total', states.FAILURE): 'failed',
        (f'{prefix}_tasks_runtime_seconds_count', None): 'attempts',
        (f'{prefix}_tasks_runtime_seconds_sum', None): 'seconds',
    }
    counts: defaultdict[str, Any] = defaultdict(Counter)
    for metric in processes.collect():
        for sample in metric.samples:
            if kind := wanted.get((sample.name, sample.labels.get('state'))):
                counts[sample.labels['queue']][kind] += sample.value
    return counts
