"""Names inside Celery, kombu, billiard and botocore that this project leans on.

None is promised by its project. When one moves, its test fails with its name: look at the places
that use it before the new version goes into the lock file.
"""

from __future__ import annotations

import inspect

import billiard.common
import billiard.pool
import boto3
import botocore.endpoint
import celery.exceptions
import celery.utils.time
import kombu
import pytest
from billiard.pool import ApplyResult
from celery import Celery, Task, _state
from celery.app import trace
from celery.app.amqp import AMQP, Queues
from celery.backends.base import Backend, DisabledBackend
from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool
from celery.loaders.base import BaseLoader
from celery.worker import state as worker_state
from celery.worker import strategy
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from celery.worker.request import Request as WorkerRequest
from kombu.asynchronous import Hub
from kombu.asynchronous.http import Request
from kombu.asynchronous.http.curl import CurlClient
from kombu.transport import SQS, virtual
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily

METHODS = [
    # be_queue/transport/clients/forks.py
    (_state, '_get_active_apps'),
    (Celery, '_pool'),
    (AMQP, '_producer_pool'),
    (SQS.Channel, '_fanout'),
    (SQS.Channel, '_sqs'),
    # be_queue/transport: the channel of each folder
    (SQS.Channel, '_get_message_estimate'),
    (SQS.Channel, '_message_to_python'),
    (SQS.Channel, '_new_boto_client'),
    (SQS.Channel, '_new_queue'),
    (SQS.Channel, '_predefined_queue_clients'),
    (SQS.Channel, '_put'),
    (SQS.Channel, '_receive_message'),
    (SQS.Channel, '_release_messages'),
    (SQS.Channel, '_resolve_delay_seconds'),
    (SQS.Channel, '_restore'),
    (SQS.Channel, '_schedule_queue'),
    (SQS.Channel, 'canonical_queue_name'),
    (SQS.Channel, 'generate_sts_session_token'),
    (SQS.Channel, 'get_message_attributes'),
    (SQS.Channel, 'get_sts_credentials'),
    (SQS.Channel, 'predefined_queues'),
    (SQS.Channel, 'sqs'),
    (SQS.Channel, 'transport_options'),
    (virtual.Channel, '_inplace_augment_message'),
    (virtual.Channel, '_lookup'),
    (virtual.Channel, 'basic_ack'),
    (virtual.Channel, 'basic_cancel'),
    (virtual.Channel, 'basic_publish'),
    (virtual.Channel, 'basic_qos'),
    (virtual.Channel, 'basic_reject'),
    (virtual.Channel, 'body_encoding'),
    (virtual.Channel, 'encode_body'),
    (virtual.Channel, 'get_table'),
    (virtual.Channel, 'typeof'),
    (virtual.QoS, 'can_consume'),
    # be_queue/transport/receiving/qos.py
    (SQS.QoS, 'append'),
    (SQS.QoS, 'ack'),
    (SQS.QoS, 'reject'),
    # be_queue/transport/queues
    (SQS.Channel, '_create_queue'),
    (SQS.Channel, '_queue_cache'),
    (SQS.Channel, '_update_queue_cache'),
    (virtual.Channel, 'exchange_declare'),
    (virtual.Channel, 'queue_declare'),
    (virtual.base, 'queue_declare_ok_t'),
    # be_queue/transport/dead_letters
    (SQS.Channel, 'basic_consume'),
    (SQS.QoS, 'is_backoff_task'),
    (virtual.Message, '_decode'),
    (kombu.Consumer, 'accept'),
    (kombu.Consumer, '_receive_callback'),
    (Consumer, 'create_task_handler'),
    # be_queue/transport/holding/stopping.py
    (worker_state, 'active_requests'),
    (worker_state, 'should_stop'),
    (worker_state, 'should_terminate'),
    (WorkerRequest, 'message'),
    (Hub, 'create_loop'),
    (Hub, 'call_repeatedly'),
    # be_queue/transport/sending/delays.py
    (celery.utils.time, 'maybe_iso8601'),
    (celery.utils.time, 'maybe_make_aware'),
    # be_queue/worker.py
    (Consumer, 'on_close'),
    (Consumer, 'update_strategies'),
    (Task, 'Request'),
    (WorkerRequest, 'reject'),
    (ApplyResult, '_write_to'),
    # be_queue/results.py
    (DisabledBackend, '_is_disabled'),
    # be_queue/database.py
    (DatabaseBackend, '_cleanup'),
    (DatabaseBackend, '_update_result'),
    (DatabaseBackend, 'exception_safe_to_retry'),
    (SessionManager, 'prepare_models'),
    # app/utils/result_store.py
    (Backend, '_ensure_retryable'),
    (DatabaseBackend, '_store_result'),
    (Backend, 'on_backend_retryable_error'),
    (Celery, 'backend_cls'),
    # be_queue/topology.py
    (Queues, 'deselect'),
    (BaseLoader, 'init_worker'),
    # app/utils/idempotency.py
    (trace, 'trace_ok_t'),
    (DatabaseBackend, 'task_cls'),
    (Task, '__trace__'),
    # app/utils/celery_signals/outcomes.py
    (billiard.common, 'terminate_handler_fired'),
    (celery.exceptions, 'get_pickleable_exception'),
    (trace, 'build_tracer'),
    (trace, 'get_pickleable_exception'),
    (Backend, 'prepare_exception'),
    # app/utils/celery_signals/pool.py
    (AsynPool, '_create_worker_process'),
    (AsynPool, '_join_exited_workers'),
    (AsynPool, 'TimeoutHandler'),
    (prefork.TaskPool, 'Pool'),
    (billiard.pool.TimeoutHandler, '_trywaitkill'),
    (billiard.pool, 'EX_RECYCLE'),
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


def test_the_event_loop_keeps_its_pending_callbacks() -> None:
    assert '_ready' in inspect.getsource(Hub.__init__)


def test_a_closing_consumer_drops_what_no_child_has_reported_to_have_started() -> None:
    assert 'self.on_close' in inspect.getsource(Consumer.__init__)
    assert 'self.pool.flush()' in inspect.getsource(Consumer.on_close)
    assert 'self.outbound_buffer' in inspect.getsource(AsynPool.__init__)
    assert 'self._cache' in inspect.getsource(AsynPool.flush)
    assert '_accepted' in inspect.getsource(ApplyResult.__init__)


def test_the_pool_knows_which_children_are_busy() -> None:
    # be_queue/worker.py
    assert 'self._busy_workers' in inspect.getsource(AsynPool.__init__)
    assert 'self.on_poll_start' in inspect.getsource(AsynPool._create_write_handlers)
    assert 'hub.on_tick' in inspect.getsource(AsynPool.register_with_event_loop)


def test_the_event_loop_can_be_called_from_another_thread() -> None:
    # app/utils/ratelimit/threads.py
    assert 'self._ready_lock' in inspect.getsource(Hub.call_soon)
    assert 'waker.wake()' in inspect.getsource(Hub.call_soon)


def test_a_task_names_its_class_of_requests() -> None:
    # app/utils/lost_child.py
    assert 'symbol_by_name(task.Request)' in inspect.getsource(strategy.default)
    assert 'exc_info' in inspect.signature(WorkerRequest.on_failure).parameters


def test_bindings_say_routing_key_pattern_and_queue() -> None:
    assert 'rkey, pattern, queue' in inspect.getsource(virtual.Channel.list_bindings)


def test_options_of_a_channel_are_read_when_they_are_needed() -> None:
    # Not from the connection: our defaults would be missed.
    source = inspect.getsource(SQS.Channel)
    assert "self.transport_options.get('client-config')" in source
    assert "self.transport_options.get('sqs_base64_encoding', True)" in source


def test_a_transport_keeps_its_consumers_callbacks() -> None:
    assert '_callbacks' in inspect.getsource(virtual.Transport.__init__)


def test_kombu_looks_for_queues_before_it_looks_for_the_event_loop() -> None:
    source = inspect.getsource(SQS.Channel.__init__)
    assert 0 < source.index('self._update_queue_cache(') < source.index('self.hub =')


def test_celerys_consumer_of_tasks_is_known_by_its_error_handler() -> None:
    assert 'on_decode_error=c.on_decode_error' in inspect.getsource(Tasks.start)
    assert 'message.accept = accept' in inspect.getsource(kombu.Consumer._receive_callback)


def test_a_decoded_body_is_kept_for_celery() -> None:
    assert '_decoded_cache' in inspect.getsource(kombu.Message.decode)
    assert '_decoded_cache' in inspect.getsource(kombu.Message.payload.fget)
    assert 'message.payload' in inspect.getsource(strategy.default)


@pytest.mark.parametrize('name', ['on_unknown_task', 'on_invalid_task'])
def test_what_celery_refuses_it_rejects_while_it_is_handed_over(name: str) -> None:
    assert 'message.reject_log_error' in inspect.getsource(getattr(Consumer, name))


def test_kombu_starts_a_poll_by_scheduling_the_queue() -> None:
    assert '_schedule_queue' in inspect.getsource(SQS.Channel.basic_consume)


def test_an_http_request_may_be_prepared() -> None:
    assert 'on_prepare' in inspect.signature(Request.__init__).parameters
    assert 'on_prepare' in inspect.getsource(CurlClient._setup_request)
    assert 'max_clients' in inspect.signature(CurlClient.__init__).parameters
    for name in ('_set_timeout', '_timeout_check', '_closed'):
        assert name in inspect.getsource(CurlClient)


def test_celery_holds_a_message_until_the_time_in_its_headers() -> None:
    source = inspect.getsource(WorkerRequest.__init__)
    assert "self._request_dict.get('eta')" in source
    assert 'maybe_make_aware(eta, self.tzlocal)' in source
    assert 'eta = maybe_iso8601(eta)' in source


def test_a_failed_http_request_has_the_number_of_curls_error() -> None:
    assert 'error.errno = errno' in inspect.getsource(CurlClient._process)


def test_a_boto3_client_signs_json_requests() -> None:
    client = boto3.client(
        'sqs', region_name='us-west-2', aws_access_key_id='a', aws_secret_access_key='b'
    )
    assert callable(client._request_signer.sign)
    assert {'jsonVersion', 'targetPrefix'} <= client.meta.service_model.metadata.keys()
    assert client._request_signer._credentials.method == 'explicit'
    assert 'needs-retry.' in inspect.getsource(botocore.endpoint.Endpoint._needs_retry)


def test_the_pool_has_a_handler_for_the_soft_time_limit() -> None:
    assert billiard.pool.SIG_SOFT_TIMEOUT
    assert callable(billiard.pool.soft_timeout_sighandler)


def test_a_pool_process_makes_traces_that_can_be_wrapped_before_it_is_announced() -> None:
    made, announced = (
        inspect.getsource(prefork.process_initializer).index(text)
        for text in ('task.__trace__ = build_tracer', 'worker_process_init.send')
    )
    assert made < announced
    assert '__trace__(' in inspect.getsource(trace.fast_trace_task)
    assert 'except Reject:\n        raise' in inspect.getsource(trace.trace_task)


def test_result_backends_can_be_replaced() -> None:
    assert 'override_backends' in inspect.getsource(BaseLoader)
    assert SessionManager().prepared is False


def test_a_pool_counts_the_tasks_of_each_process_until_it_forgets_the_process() -> None:
    # app/utils/celery_signals/pool.py
    source = inspect.getsource(billiard.pool.Pool)
    assert 'self._on_ready_counters[w.pid] = on_ready_counter' in source
    assert 'self._maxtasksperchild = maxtasksperchild' in source
    assert 'self._timeout_handler = self.TimeoutHandler(' in source
    worker = inspect.getsource(billiard.pool.Worker.workloop)
    assert worker.count('EX_RECYCLE') == 2  # for the number of tasks and for memory


def test_metrics_know_their_labels_and_a_registry_its_metrics() -> None:
    # app/web/metrics_table.py
    registry = CollectorRegistry()
    counter = Counter('unit', '', ['a'], registry=registry)
    assert list(registry._collector_to_names) == [counter]
    assert counter._labelnames == GaugeMetricFamily('unit', '', labels=['a'])._labelnames == ('a',)
