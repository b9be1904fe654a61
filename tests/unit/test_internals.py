"""Names inside Celery, kombu, billiard and botocore that this project leans on.

None is promised by its project. When one moves, its test fails with its name: look at the places
that use it before the new version goes into the lock file.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import billiard.common
import billiard.compat
import billiard.pool
import celery.exceptions
import celery.utils.time
import kombu
import pytest
from celery import Celery, Task, _state
from celery.app import trace
from celery.app.amqp import AMQP, Queues
from celery.backends.base import Backend
from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from celery.loaders.base import BaseLoader
from celery.worker import state as worker_state
from celery.worker.consumer import Consumer
from celery.worker.request import Request as WorkerRequest
from kombu.asynchronous import Hub
from kombu.transport import SQS, virtual

METHODS = [
    # be_queue/transport/forks.py
    (_state, '_get_active_apps'),
    (Celery, '_pool'),
    (AMQP, '_producer_pool'),
    (SQS.Channel, '_fanout'),
    (SQS.Channel, '_sqs'),
    # be_queue/transport/channel.py
    (SQS.Channel, '_create_queue'),
    (SQS.Channel, '_message_to_python'),
    (SQS.Channel, '_new_boto_client'),
    (SQS.Channel, '_new_queue'),
    (SQS.Channel, '_predefined_queue_clients'),
    (SQS.Channel, '_queue_cache'),
    (SQS.Channel, '_receive_message'),
    (SQS.Channel, '_resolve_delay_seconds'),
    (SQS.Channel, '_restore'),
    (SQS.Channel, '_schedule_queue'),
    (SQS.Channel, '_update_queue_cache'),
    (SQS.QoS, 'is_backoff_task'),
    (virtual.Channel, '_inplace_augment_message'),
    (virtual.Channel, '_lookup'),
    # be_queue/transport/message_check.py
    (Consumer, 'create_task_handler'),
    # be_queue/transport/shutdown.py
    (worker_state, 'active_requests'),
    (worker_state, 'should_stop'),
    (worker_state, 'should_terminate'),
    (WorkerRequest, 'message'),
    # be_queue/transport/event_loop.py
    (Hub, 'create_loop'),
    (Hub, 'call_repeatedly'),
    # be_queue/transport/delays.py
    (celery.utils.time, 'maybe_iso8601'),
    (celery.utils.time, 'maybe_make_aware'),
    # be_queue/worker.py
    (Consumer, 'on_close'),
    (Consumer, 'update_strategies'),
    (Task, 'Request'),
    (WorkerRequest, 'reject'),
    # be_queue/database.py
    (DatabaseBackend, '_store_result'),
    (DatabaseBackend, '_update_result'),
    (DatabaseBackend, 'exception_safe_to_retry'),
    (SessionManager, 'prepare_models'),
    # app/utils/result_store.py
    (Backend, '_ensure_retryable'),
    (Backend, 'on_backend_retryable_error'),
    (Celery, 'backend_cls'),
    # be_queue/topology.py
    (Queues, 'deselect'),
    (BaseLoader, 'init_worker'),
    # app/utils/idempotency.py
    (DatabaseBackend, 'task_cls'),
    (Task, '__trace__'),
    # app/utils/celery_signals/outcomes.py
    (billiard.common, 'terminate_handler_fired'),
    (celery.exceptions, 'get_pickleable_exception'),
    (trace, 'get_pickleable_exception'),
    (Backend, 'prepare_exception'),
    # app/utils/celery_signals/pool.py
    (billiard.compat, 'mem_rss'),
    (billiard.pool, 'EX_RECYCLE'),
]


@pytest.mark.parametrize(('owner', 'name'), METHODS, ids=[f'{o.__name__}.{n}' for o, n in METHODS])
def test_there_is(owner: type, name: str) -> None:
    assert hasattr(owner, name)


@pytest.fixture(scope='module')
def channel() -> Iterator[virtual.Channel]:
    with kombu.Connection('memory://') as connection:
        yield connection.default_channel


@pytest.mark.parametrize(
    'name',
    [
        '_active_queues',
        '_consumers',
        '_tag_to_queue',
        'qos._delivered',
        'qos._dirty',
        'connection._callbacks',
    ],
)
def test_a_channel_has(channel: virtual.Channel, name: str) -> None:
    assert attrgetter(name)(channel) is not None


def test_the_event_loop_keeps_its_pending_callbacks() -> None:
    assert Hub()._ready is not None
