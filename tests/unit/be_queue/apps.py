"""Celery apps for the tests of be_queue.testing: good ones, and such with one fault."""

from __future__ import annotations

import re
from typing import Any

import kombu
from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.topology import Topology

DATABASE = 'db+postgresql+psycopg://user:pass@host/results'
TOPOLOGY = Topology(work=('foo', 'bar'))
SILENT = Topology(work=('foo', 'bar'), platform='')
WORKER = ('add', 'count')
EXCHANGE = TOPOLOGY.exchange


def mapping(**options: Any) -> Queues:
    queues = [
        Queue(queue_name='worker-add', task='add'),
        Queue(queue_name='worker-count.fifo', task='count'),
        Queue(queue_name='other', task='other', consume=False),
    ]
    return Queues(queues).build_celery('prod', **options)


def nothing() -> None:
    """Do nothing, as every task here."""


def celery_app(settings: Any, *tasks: str) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(settings)
    for name in tasks:
        app.task(nothing, name=name)
    return app


def readme_producer(queues: Queues) -> Celery:
    return celery_app(
        {
            'broker_transport_options': {'region': 'us-west-1'},
            'broker_url': 'sqs://',
            'task_queues': queues.celery_task_queues(),
            'task_routes': queues.celery_task_routes(),
        }
    )


def by_hand(
    *tasks: str, topology: Topology | None = None, drop: str | None = None, **changes: Any
) -> Celery:
    """Return an app with written settings: queues foo and bar for tasks add and count.

    ``drop`` leaves a queue out; a change to ``task_queues`` or ``task_routes`` adds to them.
    """
    topology = topology or TOPOLOGY
    queues = {queue.name: queue for queue in topology.queues() if queue.name != drop}
    queues |= {queue.name: queue for queue in changes.pop('task_queues', ())}
    routes = topology.routes_by_task({'add': 'foo', 'count': 'bar'})
    if drop == 'celery':
        del routes['celery.*']
    return celery_app(
        {
            'broker_url': 'sqs://',
            'broker_transport_options': {'queue_name_prefix': 'dev-'},
            'result_backend': DATABASE,
            'task_acks_late': True,
            'task_reject_on_worker_lost': True,
            'task_queues': list(queues.values()),
            'task_routes': routes | changes.pop('task_routes', {}),
        }
        | changes,
        *tasks,
    )


def with_listed_routes(add: Any = 'foo') -> Celery:
    """Return an app whose task ``add`` is found by a compiled pattern alone."""
    app = by_hand(*WORKER)
    by_pattern = [('celery.*', {'queue': 'celery'}), (re.compile('a.d'), add)]
    app.conf.task_routes = [{'count': 'bar'}, by_pattern, lambda *args, **kwargs: None]
    return app


def leaves_bar_to_others() -> Celery:
    app = by_hand('add')
    app.amqp.queues.deselect('bar')
    return app


def with_queue(*queues: kombu.Queue, **changes: Any) -> Celery:
    return by_hand(*WORKER, task_queues=queues, **changes)


def with_task(**options: Any) -> Celery:
    app = by_hand('add')
    app.task(nothing, name='count', **options)
    return app


def mapped(*tasks: str, **settings: Any) -> Celery:
    return celery_app(Config(mapping(), result_backend=DATABASE, **settings), *tasks)
