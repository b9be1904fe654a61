"""Where messages land, published by Celery through kombu's in-memory transport."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chord

from be_queue import Config, Queue, Queues
from be_queue.testing.memory import MemoryBroker
from be_queue.topology import Topology, WorkQueue


def mapping(**options: Any) -> Queues:
    queues = [Queue(queue_name='add', task='add'), Queue(queue_name='count.fifo', task='count')]
    return Queues(queues).build_celery('prod', **options)


def app_of(settings: Any) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(settings)
    return app


def with_mapping(**settings: Any) -> Celery:
    return app_of(Config(mapping(), **settings))


def with_names(**settings: Any) -> Celery:
    return app_of(Config(['add', 'count.fifo'], **settings))


def landed(app: Celery, task: str, **options: Any) -> list[str]:
    """Return where a task lands, published by a process that has declared nothing before."""
    with MemoryBroker() as broker:
        return broker.send(app, task, **options)


@pytest.mark.parametrize(
    ('build', 'task', 'queues'),
    [
        (with_mapping, 'add', ['prod-add', 'prod-platform.fifo']),
        (with_mapping, 'count', ['prod-count.fifo', 'prod-platform.fifo']),
        (with_mapping, 'celery.backend_cleanup', ['prod-celery', 'prod-platform.fifo']),
        (with_names, 'add.one', ['add', 'platform.fifo']),
        (with_names, 'count.fifo.one', ['count.fifo', 'platform.fifo']),
        (with_names, 'celery.backend_cleanup', ['celery', 'platform.fifo']),
    ],
)
def test_work_queue_and_platform_queue_get_one_copy_each(
    build: Callable[..., Celery], task: str, queues: list[str]
) -> None:
    assert landed(build(), task) == queues
    # Without a platform queue, the work queue alone.
    assert landed(build(PLATFORM_QUEUE_NAME=''), task) == queues[:1]

    app = build()
    with MemoryBroker() as broker:
        broker.declare(app.conf.task_queues)  # every one: there are no more copies
        assert broker.send(app, task) == broker.send(app, task) == queues


def test_a_queue_named_by_the_caller_replaces_the_mapped_one() -> None:
    other = ['prod-count.fifo', 'prod-platform.fifo']
    assert landed(with_mapping(), 'add', queue='prod-count.fifo') == other

    app = app_of(Config(mapping(), **in_own_memory()))

    @app.task(name='add')
    def add() -> None: ...

    add.apply_async(queue='prod-count.fifo', ignore_result=True)
    assert in_memory(app) == other


@pytest.mark.parametrize(
    ('build', 'task', 'other', 'platform'),
    [
        (with_mapping, 'add', 'prod-count.fifo', 'prod-platform.fifo'),
        (with_names, 'add.x', 'count.fifo', 'platform.fifo'),
    ],
)
def test_a_retry_goes_back_to_the_queue_it_came_from(
    build: Callable[..., Celery], task: str, other: str, platform: str
) -> None:
    # What Task.retry takes from the message; the process may never have declared that queue.
    came_from = {'exchange': 'task_exchange', 'routing_key': other}

    assert landed(build(), task, **came_from) == [other, platform]


def test_a_misspelt_queue_is_an_error_at_the_sender() -> None:
    with pytest.raises(Exception, match='prod-ad'):
        landed(with_mapping(), 'add', queue='prod-ad')


def in_own_memory() -> dict[str, str]:
    """Return settings for a broker of the app's own: kombu shares connections by URL."""
    return {
        'broker_transport': 'be_queue.testing.memory:MemoryTransport',
        'broker_url': f'sqs://{uuid4()}',
    }


def in_memory(app: Celery) -> list[str]:
    """Return the names of the queues that got a message through the app's own connection."""
    with app.producer_or_acquire() as producer:
        queues = producer.connection.transport.queues
    return sorted(name for name, held in queues.items() for _ in range(held.qsize()))


@pytest.mark.parametrize(
    ('queues', 'part', 'body', 'wanted'),
    [
        # With routes by name, Celery unlocks where the callback will run: its worker knows it.
        (mapping(), 'add', 'count', ['prod-add', 'prod-count.fifo']),
        (['add', 'count.fifo'], 'add.x', 'count.fifo.x', ['add', 'celery']),
    ],
)
def test_a_chord_is_unlocked_where_a_worker_consumes(
    tmp_path: Path, queues: Any, part: str, body: str, wanted: list[str]
) -> None:
    app = app_of(
        Config(
            queues,
            PLATFORM_QUEUE_NAME='',
            **in_own_memory(),
            result_backend=f'db+sqlite:///{tmp_path / "results"}',
        )
    )

    chord([app.signature(part)], app=app)(app.signature(body))

    assert in_memory(app) == wanted


def test_the_topology_lists_celerys_queue_the_platforms_and_the_work_queues() -> None:
    queues = Topology(('add', 'count'), exchange_name='mine', exchange_type='direct').queues()

    assert [queue.name for queue in queues] == ['celery', 'platform.fifo', 'add', 'count']
    assert [queue.routing_key for queue in queues] == ['celery', '#', 'add', 'count']
    assert {(q.exchange.name, q.exchange.type) for q in queues} == {('mine', 'direct')}
    without = Topology(('add',), platform='')
    assert [queue.name for queue in without.queues()] == ['celery', 'add']


@pytest.mark.parametrize(
    'duplicate', [copy.copy, copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))]
)
def test_a_copy_of_a_work_queue_still_declares_the_rest(
    duplicate: Callable[[WorkQueue], WorkQueue],
) -> None:
    app = with_mapping()
    app.conf.task_queues = [duplicate(queue) for queue in app.conf.task_queues]

    assert landed(app, 'add') == ['prod-add', 'prod-platform.fifo']
