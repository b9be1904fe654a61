"""Where messages land, published by Celery through kombu's in-memory transport."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chord

from be_queue import Config, Queue, Queues
from be_queue.testing.memory import MemoryBroker


def app_of(queues: Any, **settings: Any) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues, **settings))
    return app


def with_mapping(**settings: Any) -> Celery:
    queues = [Queue(queue_name='add', task='add'), Queue(queue_name='count.fifo', task='count')]
    return app_of(Queues(queues).build_celery('prod'), **settings)


def with_names(**settings: Any) -> Celery:
    return app_of(['add', 'count.fifo'], **settings)


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
    # Celery copies queues, and may send them to another process.
    app.conf.task_queues = pickle.loads(pickle.dumps(app.conf.task_queues))
    assert landed(app, task) == queues


@pytest.mark.parametrize(
    ('build', 'task', 'prefix'), [(with_mapping, 'add', 'prod-'), (with_names, 'add.x', '')]
)
def test_the_callers_queue_and_that_of_a_retry_replace_the_mapped_one(
    build: Callable[..., Celery], task: str, prefix: str
) -> None:
    other = [f'{prefix}count.fifo', f'{prefix}platform.fifo']
    assert landed(build(), task, queue=other[0]) == other
    # What Task.retry takes from the message; the process may never have declared that queue.
    came_from = {'exchange': 'task_exchange', 'routing_key': other[0]}
    assert landed(build(), task, **came_from) == other
    with pytest.raises(Exception, match='misspelt'):
        landed(build(), task, queue='misspelt')


@pytest.mark.parametrize(
    ('build', 'part', 'body', 'wanted'),
    [
        (with_mapping, 'add', 'count', ['prod-add', 'prod-count.fifo']),
        (with_names, 'add.x', 'count.fifo.x', ['add', 'count.fifo']),
    ],
)
def test_a_chord_is_unlocked_where_its_callback_will_run(
    tmp_path: Path, build: Callable[..., Celery], part: str, body: str, wanted: list[str]
) -> None:
    app = build(
        PLATFORM_QUEUE_NAME='',
        broker_transport='be_queue.testing.memory:MemoryTransport',
        broker_url=f'sqs://{uuid4()}',  # kombu shares connections by URL
        result_backend=f'db+sqlite:///{tmp_path / "results"}',
    )

    chord([app.signature(part)], app=app)(app.signature(body))

    with app.producer_or_acquire() as producer:
        queues = producer.connection.transport.queues
    assert sorted(name for name, held in queues.items() if held.qsize()) == wanted
