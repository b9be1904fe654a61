from __future__ import annotations

import pytest
from celery.app import trace

from be_queue.worker.logs import about
from be_queue.worker.logs.context import ContextFilter

OF_THE_TASK = {
    'task_id': 'an-id',
    'task_name': 'charge',
    'queue': 'prod-payments-charge',
    'attempt': 2,
    'max_attempts': 6,
}


@pytest.fixture
def fields(record):
    """Return a function that returns the fields of a record by their names."""
    none = record('x').__dict__

    def show(*args, **others):
        return {n: v for n, v in record(*args, **others).__dict__.items() if n not in none}

    return show


def test_inside_a_task_each_line_says_which(fields, running) -> None:
    assert fields('x') == {}
    with running() as task:
        assert fields('x', name='urllib3.connectionpool') == OF_THE_TASK
        task.request.trace_id = 'abc123'
        assert fields('x') == OF_THE_TASK | {'trace_id': 'abc123'}

        @task.app.task(shared=False)
        def called_like_a_function() -> object:
            return fields('x')['task_id']

        assert called_like_a_function() == 'an-id'
    assert fields('x') == {}


def test_a_task_that_celery_does_not_run_yet_can_be_named(fields, charge) -> None:
    delivery = {'routing_key': 'prod-payments-charge'}
    with about(charge, {'id': 'an-id', 'retries': 1, 'delivery_info': delivery}):
        assert fields('x') == OF_THE_TASK
    assert fields('x') == {}


def test_a_field_gives_way_to_one_that_a_line_has(fields, running) -> None:
    assert fields('x', data={'id': 1}) == {'data': {'id': 1}}
    with running(retries='many'):  # a message from elsewhere may have any
        found = fields('x', service='another', queue='another', pid=1)
    expected = OF_THE_TASK | {'attempt': 1}
    assert found == expected | {'service_': 'another', 'queue_': 'another', 'pid_': 1}


@pytest.mark.parametrize(
    ('message', 'action'),
    [
        (trace.LOG_RECEIVED, 'received'),
        (trace.LOG_SUCCESS, 'succeeded'),
        (trace.LOG_RETRY, 'retried'),
        (trace.LOG_FAILURE, 'failed'),
        (trace.LOG_INTERNAL_ERROR, 'failed'),
        (trace.LOG_IGNORED, 'ignored'),
        (trace.LOG_REJECTED, 'rejected'),
    ],
)
def test_celerys_lines_of_a_tasks_life_have_fields(fields, running, message, action) -> None:
    data = {
        'id': 'an-id', 'name': 'charge', 'runtime': 0.25, 'return_value': 'hush', 'args': '(1,)',
        'kwargs': '{}', 'exc': 'oh', 'description': 'raised unexpected',
    }  # fmt: skip
    life = {'action': action, 'runtime_seconds': 0.25}
    with running():
        assert fields(message, data, name='celery.app.trace', data=data) == OF_THE_TASK | life
    assert fields(message, data, name='celery.app.trace', data=data) == life | {
        'task_id': 'an-id',
        'task_name': 'charge',
    }


def test_only_the_main_process_is_renamed(record) -> None:
    made = record('x')
    assert made.processName == 'worker'
    made.processName = 'ForkPoolWorker-1'
    ContextFilter('worker').filter(made)
    assert made.processName == 'ForkPoolWorker-1'
