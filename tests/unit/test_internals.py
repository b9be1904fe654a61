"""Names inside Celery, kombu, billiard and botocore that this project leans on.

None is promised by its project. When one moves, its test fails with its name: look at the places
that use it before the new version goes into the lock file.
"""

from __future__ import annotations

import inspect

import billiard.pool
import boto3
import pytest
from celery.app.amqp import Queues
from celery.backends.base import DisabledBackend
from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from celery.loaders.base import BaseLoader
from kombu.asynchronous.http import Request, get_client
from kombu.asynchronous.http.curl import CurlClient
from kombu.transport import SQS, virtual

METHODS = [
    # be_queue/transport/channel.py
    (SQS.Channel, '_get_message_estimate'),
    (SQS.Channel, '_message_to_python'),
    (SQS.Channel, '_new_queue'),
    (SQS.Channel, '_receive_message'),
    (SQS.Channel, '_release_messages'),
    (SQS.Channel, '_restore'),
    (SQS.Channel, '_schedule_queue'),
    (SQS.Channel, 'canonical_queue_name'),
    (SQS.Channel, 'get_message_attributes'),
    (SQS.Channel, 'predefined_queues'),
    (SQS.Channel, 'sqs'),
    (virtual.Channel, 'basic_ack'),
    (virtual.Channel, 'basic_cancel'),
    (virtual.Channel, 'basic_qos'),
    (virtual.Channel, 'basic_reject'),
    (virtual.QoS, 'can_consume'),
    # be_queue/results.py
    (DisabledBackend, '_is_disabled'),
    # app/utils/result_store.py
    (DatabaseBackend, '_ensure_retryable'),
    (DatabaseBackend, 'exception_safe_to_retry'),
    (DatabaseBackend, 'on_backend_retryable_error'),
    # app/worker.py
    (Queues, 'deselect'),
]


@pytest.mark.parametrize(('owner', 'name'), METHODS, ids=[f'{o.__name__}.{n}' for o, n in METHODS])
def test_there_is(owner: type, name: str) -> None:
    assert hasattr(owner, name)


@pytest.mark.parametrize('name', ['_active_queues', '_consumers', '_tag_to_queue'])
def test_a_channel_has(name: str) -> None:
    assert name in inspect.getsource(virtual.Channel.__init__)


@pytest.mark.parametrize('name', ['_delivered', '_dirty'])
def test_the_quality_of_service_has(name: str) -> None:
    assert name in inspect.getsource(virtual.QoS.__init__)


def test_a_transport_keeps_its_consumers_callbacks() -> None:
    assert '_callbacks' in inspect.getsource(virtual.Transport.__init__)


def test_kombu_starts_a_poll_by_scheduling_the_queue() -> None:
    assert '_schedule_queue' in inspect.getsource(SQS.Channel.basic_consume)


def test_an_http_request_may_be_prepared() -> None:
    assert 'on_prepare' in inspect.signature(Request.__init__).parameters
    assert 'on_prepare' in inspect.getsource(CurlClient._setup_request)
    assert 'max_clients' in inspect.signature(CurlClient.__init__).parameters
    assert 'kwargs' in inspect.signature(get_client).parameters


def test_a_boto3_client_signs_json_requests() -> None:
    client = boto3.client(
        'sqs', region_name='us-west-2', aws_access_key_id='a', aws_secret_access_key='b'
    )
    assert callable(client._request_signer.sign)
    assert {'jsonVersion', 'targetPrefix'} <= client.meta.service_model.metadata.keys()


def test_the_pool_has_a_handler_for_the_soft_time_limit() -> None:
    assert billiard.pool.SIG_SOFT_TIMEOUT
    assert callable(billiard.pool.soft_timeout_sighandler)


def test_result_backends_can_be_replaced() -> None:
    assert 'override_backends' in inspect.getsource(BaseLoader)
    assert SessionManager().prepared is False
