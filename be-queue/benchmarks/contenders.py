"""The contenders: a Celery app each, with the same task.

All delete a message after its task, as `be_queue.Config` does: ``task_acks_late`` and
``task_reject_on_worker_lost`` are on everywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from be_queue import Queue, Queues
from be_queue.transport.capacity import MAX_PER_CHILD

__all__ = [
    'CONTENDERS',
    'ENV',
    'REGION',
    'TASK',
    'BenchmarkError',
    'Contender',
    'celery_app',
    'redis_missing',
]

#: The environment in queue names.
ENV = 'bench'
TASK = 'noop'
REGION = 'us-west-2'


class BenchmarkError(Exception):
    """A benchmark cannot go on."""


@dataclass(frozen=True)
class Contender:
    """A Celery app with its settings and broker.

    Arguments:
        name: on the command line and in queue names.
        label: in tables.
        backlog: tasks to run at no delay and with one: some seconds of work each.
        broker: ``sqs``, ``redis`` or ``memory``.
        results: ``postgres`` or ``redis``; '' for none.
        settings: Celery settings, other than defaults, of a stock one.
    """

    name: str
    label: str
    backlog: tuple[int, int]
    broker: str = 'sqs'
    results: str = ''
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it is the template's worker."""
        return self.name.startswith('ours')


TUNED = {
    'worker_prefetch_multiplier': 16,
    'broker_transport_options': {'polling_interval': 0.01},
}
#: The template's own, but for what its transport does: that holds so many messages for each child.
FLOOR = {
    'broker_url': 'memory://',
    'broker_transport': 'benchmarks.memory:Transport',
    'worker_consumer': 'celery.worker.consumer:Consumer',
    'worker_prefetch_multiplier': MAX_PER_CHILD,
}
#: As the template stores results: the start too, each with name, arguments, worker and queue.
STORED = {'task_track_started': True, 'result_extended': True}
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender('ours', 'be_queue', (3000, 3000)),
        Contender('default', 'stock default', (80, 80)),
        Contender('tuned', 'stock tuned', (1999, 300), settings=TUNED),
        Contender('redis', 'Redis', (3999, 150), broker='redis'),
        Contender('floor', 'floor', (7999, 7999), broker='memory', settings=FLOOR),
        Contender('ours-results', 'be_queue, results', (3000, 3000), results='postgres'),
        Contender('redis-results', 'Redis, results', (3000, 150), 'redis', 'redis', STORED),
    )
}


def redis_missing() -> str:
    """Return why Celery on Redis cannot be measured here, '' when it can."""
    return '' if shutil.which('redis-server') else 'no redis-server on PATH'


def celery_app(
    contender: Contender, broker_url: str, queues: Sequence[str], result_backend: str
) -> Celery:
    """Return a contender's app, whose task goes to the first of the queues.

    Arguments:
        broker_url: ``http://key:secret@host:port`` of an SQS server, ``redis://...`` for Redis, a
            path for `benchmarks.memory`.
        queues: names on the broker, ``bench-...``.
        result_backend: Celery's setting.
    """
    app = Celery('benchmarks', set_as_current=True)
    if contender.is_ours:
        app.config_from_object(_template_config(broker_url, queues, result_backend))
        return app
    if contender.broker == 'memory':
        app.config_from_object(_template_config('', queues, result_backend))
        app.conf.update(contender.settings | {'broker_transport_options': {'backlog': broker_url}})
        return app
    options = dict(contender.settings.get('broker_transport_options', {}))
    if contender.broker == 'sqs':
        options |= {'region': REGION, 'is_secure': False}
    settings = {
        'broker_url': broker_url.replace('http:', 'sqs:', 1),
        'result_backend': result_backend,
        'task_default_queue': queues[0],
        'task_acks_late': True,
        'task_reject_on_worker_lost': True,
    }
    app.conf.update(settings | contender.settings | {'broker_transport_options': options})
    return app


def _template_config(sqs_url: str, queues: Sequence[str], result_backend: str) -> Any:
    """Return the worker's settings as the template has them, but for the result backend."""
    # Costs memory and time that the stock contenders must not be charged with.
    from app.config.configuration import Config, WorkerConfig

    short = [name.removeprefix(f'{ENV}-') for name in queues]
    mapping = Queues(
        Queue(queue_name=name, task=TASK if number == 0 else f'{TASK}-{number}')
        for number, name in enumerate(short)
    )
    config = Config(env=ENV, aws_region=REGION, sqs_endpoint_url=sqs_url, platform_queue_name='')
    return WorkerConfig(config, mapping, result_backend=result_backend)
