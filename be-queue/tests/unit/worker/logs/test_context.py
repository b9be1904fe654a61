from __future__ import annotations

import pytest
from celery.app import trace

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


def test_lines_about_a_task_say_which(fields, about_charge) -> None:
    with about_charge(trace_id='abc123'):
        assert fields('x', name='urllib3') == OF_THE_TASK | {'trace_id': 'abc123'}
    assert fields('x') == {}


def test_a_field_gives_way_to_one_that_a_line_has(fields, about_charge) -> None:
    assert fields('x', data={'id': 1}) == {'data': {'id': 1}}
    with about_charge(retries='many'):  # a message from elsewhere may have any
        found = fields('x', service='another', queue='another', pid=1)
    expected = OF_THE_TASK | {'attempt': 1}
    assert found == expected | {'service_': 'another', 'queue_': 'another', 'pid_': 1}


@pytest.mark.parametrize(
    ('message', 'action'),
    [(trace.LOG_INTERNAL_ERROR, 'failed'), (trace.LOG_IGNORED, 'ignored')],
)
def test_celerys_lines_of_a_tasks_life_have_fields(fields, message, action) -> None:
    data = {
        'id': 'an-id', 'name': 'charge', 'runtime': 0.25, 'return_value': 'hush', 'args': '(1,)',
        'kwargs': '{}', 'exc': 'oh', 'description': 'raised unexpected',
    }  # fmt: skip
    assert fields(message, data, name='celery.app.trace', data=data) == {
        'task_id': 'an-id',
        'task_name': 'charge',
        'action': action,
        'runtime_seconds': 0.25,
    }
