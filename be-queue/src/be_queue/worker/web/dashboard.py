"""``/``: one page with the state of the worker, its queues and the latest tasks."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, cast

from celery import states
from flask import Blueprint, Response, make_response, render_template
from jinja2 import Undefined

from be_queue import Queues
from be_queue.naming import dead_letter_name
from be_queue.transport import poller
from be_queue.worker import heartbeat
from be_queue.worker.history import History, Task
from be_queue.worker.local import first_task_command
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check, faults, not_consuming, stuck
from be_queue.worker.web.metrics import ProcessCollector

__all__ = ['dashboard', 'queues_by_name']

#: An open page reloads itself so often.
REFRESH_SECONDS = 3
TASKS_SHOWN = 20
#: Stands for a number that is not known.
UNKNOWN = '\N{EN DASH}'
#: States of a poller that does not ask for messages though the worker could take some.
HELD_BACK = (poller.State.THROTTLED.value, poller.State.BACKING_OFF.value)


def dashboard(
    worker_config: WorkerConfig,
    servers: Sequence[Check],
    processes: ProcessCollector,
    depths: DepthPoller,
    history: History,
) -> Blueprint:
    """Return the route; the page is complete in itself and comes within a second."""
    config = worker_config.APP
    queues = queues_by_name(worker_config)
    platform = worker_config.TOPOLOGY.platform
    first_task = first_task_command(queues.values())
    latest: list[Task] = []

    def read_tasks() -> None:
        latest[:] = history.page(count=TASKS_SHOWN).tasks

    probes = [Check('depths', depths.poll), Check('tasks', read_tasks)]
    routes = Blueprint('dashboard', __name__)
    for each in (number, duration, ago):
        routes.add_app_template_filter(each)

    @routes.get('/')
    def page() -> Response:
        found = faults([*servers, *probes])
        beat = heartbeat.read(config.heartbeat_path)
        pollers = beat.pollers if beat else {}
        counts = _counts(config.prefix, processes)
        rows: list[dict[str, Any]] = [
            {
                'task': task,
                'name': name,
                'dead_letter_name': dead_letter_name(name),
                'depth': depths.depth(name),
                'counts': counts[name],
                'poller': pollers.get(name),
            }
            for name, task in queues.items()
        ]
        known = [row['depth'].visible for row in rows if row['depth']]
        nonce = secrets.token_urlsafe(16)
        if beat is None:
            worker_state = 'not started'
        else:
            worker_state = 'stuck' if stuck(beat) else beat.state.value
        html = render_template(
            'dashboard.html',
            service=config.service_name,
            env=config.env,
            beat=beat,
            worker_state=worker_state,
            worker_fault=not_consuming(beat),
            servers={check.name: found[check.name] for check in servers},
            queues=rows,
            held_back=HELD_BACK,
            total=sum((counts[name] for name in queues), Counter()),
            waiting=sum(known) if len(known) == len(rows) else None,
            platform=platform,
            platform_depth=depths.depth(platform),
            tasks=latest.copy(),
            tasks_fault=found['tasks'],
            first_task=first_task,
            refresh=REFRESH_SECONDS,
            nonce=nonce,
        )
        answer = make_response(html)
        # Were a task's name or result ever to get through as markup, it still could do nothing.
        answer.headers['Content-Security-Policy'] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        answer.headers['Cache-Control'] = 'no-store'
        return answer

    return routes


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


def number(value: float | None) -> str:
    """Return ``12 345``, with thin spaces."""
    if value is None or isinstance(value, Undefined):
        return UNKNOWN
    return f'{value:,.0f}'.replace(',', '\N{NARROW NO-BREAK SPACE}')


def duration(seconds: float | None) -> str:
    """Return ``8 ms``, ``1.24 s``, ``3.5 min`` or ``2.1 h``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f'{seconds * 1000:.0f} ms'
    if seconds < 60:
        return f'{seconds:.2f} s'
    return f'{seconds / 60:.1f} min' if seconds < 3600 else f'{seconds / 3600:.1f} h'


def ago(moment: datetime) -> str:
    """Return how far off a moment is, in its largest unit: ``12 s ago``, ``in 3 min``."""
    passed = (datetime.now(timezone.utc) - moment).total_seconds()
    seconds = int(abs(passed))
    units = ((86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's'))
    length, name = next((unit for unit in units if seconds >= unit[0]), units[-1])
    text = f'{seconds // length} {name}'
    return f'{text} ago' if passed >= 0 else f'in {text}'
