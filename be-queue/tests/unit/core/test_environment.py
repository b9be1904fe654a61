"""CELERY_<SETTING> variables: what each type takes, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from be_queue import SettingError
from be_queue.environment import celery_settings, known_settings


@pytest.mark.parametrize(
    ('variable', 'text', 'value'),
    [
        ('CELERY_RESULT_BACKEND', "'quoted'", "'quoted'"),
        ('CELERY_WORKER_CONCURRENCY', ' 4 ', 4),
        ('CELERY_WORKER_CONCURRENCY', 'auto', 'auto'),
        ('CELERY_TASK_TIME_LIMIT', '0.5', 0.5),
        ('CELERY_TASK_ACKS_LATE', 'YES', True),
        ('CELERY_TASK_ACKS_LATE', '0', False),
        ('CELERY_BROKER_TRANSPORT_OPTIONS', "{'region': 'eu-west-1'}", {'region': 'eu-west-1'}),
        ('CELERY_ACCEPT_CONTENT', "['json', 'yaml']", ['json', 'yaml']),
        ('CELERY_IMPORTS', "('one', 'two')", ('one', 'two')),
        ('CELERY_TASK_ROUTES', "{'a.*': {'queue': 'a'}}", {'a.*': {'queue': 'a'}}),
        ('CELERY_TASK_ROUTES', 'routers.route', 'routers.route'),
    ],
)
def test_a_value_that_fits_its_setting_is_taken(variable: str, text: str, value: Any) -> None:
    (taken,) = celery_settings({variable: text}).values()

    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ('variable', 'text', 'wanted'),
    [
        ('CELERY_WORKER_PREFETCH_MULTIPLIER', '4.5', 'a whole number'),
        ('CELERY_WORKER_PREFETCH_MULTIPLIER', 'True', 'a whole number'),
        ('CELERY_WORKER_CONCURRENCY', 'four', "a whole number, or 'auto'"),
        ('CELERY_TASK_TIME_LIMIT', '1 minute', 'a number'),
        ('CELERY_TASK_ACKS_LATE', '2', 'true or false'),
        ('CELERY_BROKER_TRANSPORT_OPTIONS', 'region=us-west-2', 'a Python dict'),
        ('CELERY_ACCEPT_CONTENT', 'json', 'a Python list'),
    ],
)
def test_a_value_that_does_not_fit_names_variable_value_and_fix(
    variable: str, text: str, wanted: str
) -> None:
    with pytest.raises(SettingError) as caught:
        celery_settings({variable: text})

    assert str(caught.value).startswith(f'{variable}={text!r}: must be {wanted}')


def test_a_refused_value_that_names_a_secret_is_not_shown() -> None:
    with pytest.raises(SettingError, match='CELERY_DATABASE_ENGINE_OPTIONS') as caught:
        celery_settings({'CELERY_DATABASE_ENGINE_OPTIONS': "{'password': 'hunter2'"})

    assert 'hunter2' not in str(caught.value)


@given(
    st.sampled_from(sorted(known_settings())),
    st.text(st.sampled_from('[]{}():,\'"0a.-') | st.characters(), min_size=1),
)
def test_every_text_is_taken_or_refused_with_the_variable(name: str, text: str) -> None:
    variable = f'CELERY_{name.upper()}'
    try:
        said = [f'CELERY_{taken.upper()}' for taken in celery_settings({variable: text})]
    except SettingError as error:
        said = str(error).split('=')

    assert said[0] == variable


def test_other_variables_are_left_alone_and_a_misspelt_one_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    variables = {
        'CELERY_TASK_ACKS_LATE': '',
        'PATH': '/bin',
        'CELERY_EXPORTER_LISTEN_ADDRESS': ':9808',  # of another program
        'CELERY_WORKER_CONCURENCY': '4',
    }
    assert celery_settings(variables) == {}
    assert caplog.messages == [
        'CELERY_WORKER_CONCURENCY is not a Celery setting and has no effect: '
        'did you mean CELERY_WORKER_CONCURRENCY?'
    ]
