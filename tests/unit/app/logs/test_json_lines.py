from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator, Mapping

import pytest
from celery.app.trace import LOG_FAILURE, LOG_RETRY, LOG_SUCCESS

from app.utils.logs import about
from app.utils.logs.json_lines import JsonFormatter
from app.utils.logs.plain import MAX_PARTS
from app.utils.long_text import MAX_TEXT

IDENTITY = {'service': 'payments', 'env': 'prod', 'release': '1.2.3'}
OF_THE_TASK = {
    'task_id': 'an-id',
    'task_name': 'charge',
    'queue': 'prod-payments-charge',
    'attempt': 2,
    'max_attempts': 6,
}


@pytest.fixture
def logged(record):
    """Return a function that logs a line and reads it back."""
    formatter = JsonFormatter('worker', **IDENTITY)

    def log(*args, **others):
        text = formatter.format(record(*args, **others))
        assert text.isascii()
        assert '\n' not in text
        return json.loads(text, parse_constant=pytest.fail)

    return log


def test_a_line_has_time_level_logger_message_process_and_what_runs(logged) -> None:
    line = logged('%s of %d', 'one', 2, level=logging.WARNING, created=1_700_000_000.1239)
    assert line.pop('pid') > 1
    assert line == {
        'timestamp': '2023-11-14T22:13:20.123Z',
        'level': 'WARNING',
        'logger': 'app.tasks',
        'message': 'one of 2',
        'process': 'worker',
        **IDENTITY,
    }


def test_a_second_has_its_own_timestamp(logged) -> None:
    times = [1_700_000_000.999, 1_700_000_001.0, 1_700_000_000.5]
    assert [logged('x', created=at)['timestamp'][17:] for at in times] == [
        '20.999Z', '21.000Z', '20.500Z',
    ]  # fmt: skip


def test_fields_keep_what_json_can_hold(logged) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    line = logged(
        'x',
        count=3,
        ratio=0.5,
        ok=True,
        none=None,
        text='a\nb',
        at=moment,
        nested={1: (2, {3})},
    )
    assert (line['count'], line['ratio'], line['ok'], line['none']) == (3, 0.5, True, None)
    assert line['text'] == 'a\nb'
    assert line['at'] == '2026-01-02T03:04:05+00:00'
    assert line['nested'] == {'1': [2, [3]]}


class Rude:
    def __str__(self) -> str:
        raise ZeroDivisionError('no text')

    __repr__ = __str__


def test_nothing_that_is_logged_can_break_a_line(logged) -> None:
    round_in_circles: dict[str, object] = {}
    round_in_circles['self'] = round_in_circles
    line = logged(
        'a\x00b\x1b[2J\u2028\udc80', inf=float('inf'), rude=Rude(), circle=round_in_circles
    )
    assert line['message'] == 'a\x00b\x1b[2J\u2028\udc80'
    assert line['inf'] == 'inf'
    assert line['rude'] == '<Rude without a text: ZeroDivisionError>'
    assert 'self' in line['circle']


def test_arguments_that_do_not_fit_lose_no_line(logged) -> None:
    assert logged('%d apples', 'no')['message'].startswith('%d apples (its arguments do not fit: ')
    assert 'ZeroDivisionError' in logged('%s', Rude())['message']
    assert 'ZeroDivisionError' in logged(Rude())['message']


def test_what_is_very_long_loses_its_middle(logged) -> None:
    message = logged('%s', 'a' * MAX_TEXT + 'b' * MAX_TEXT)['message']
    assert message.startswith('aaa')
    assert message.endswith('bbb')
    assert f' ... {MAX_TEXT} characters are left out ... ' in message


class Detached(Mapping):
    def __getitem__(self, key: str) -> object:
        raise RuntimeError('detached')

    def __iter__(self) -> Iterator[str]:
        return iter(['a'])

    def __len__(self) -> int:
        return 1


def test_an_odd_field_is_said_to_be_one_and_loses_no_line(logged) -> None:
    line = logged('x', many_digits=10**5000, too_large=10**400, row=Detached(), d={Rude(): 1}, n=1)
    # Python 3.10's oldest shows any number of digits.
    assert str(line['many_digits']) in ('<int without a text: ValueError>', '1' + 5000 * '0')
    assert line['too_large'] == 10**400
    assert line['row'] == '<Detached without a text: RuntimeError>'
    assert line['d'] == {'<Rude without a text: ZeroDivisionError>': 1}
    assert line['n'] == 1


def circle() -> list[object]:
    parts: list[object] = []
    parts.extend([parts] * 30)
    return parts


def shared(levels: int) -> list[object]:
    return [shared(levels - 1)] * 10 if levels else []


@pytest.mark.parametrize(
    'value',
    [
        list(range(1_000_000)),
        ['y' * MAX_TEXT] * 1000,
        dict.fromkeys(range(100_000), 'y' * 100),
        {'y' * 100_000: 1},
        circle(),
        # Ten to the eighth parts, though few objects.
        shared(8),
    ],
    ids=['wide', 'long texts', 'dict', 'long key', 'circle', 'shared'],
)
def test_a_field_takes_a_bounded_part_of_a_line(logged, value) -> None:
    line = logged('x', rows=value, n=1)
    assert len(json.dumps(line['rows'])) < 2 * MAX_TEXT
    assert '...' in json.dumps(line['rows'])
    assert line['n'] == 1


def test_a_line_has_room_for_so_many_fields(logged) -> None:
    long = logged('x', **{f'f{number}': 'y' * MAX_TEXT for number in range(100)}, n=1)
    assert len(json.dumps(long)) < 5 * MAX_TEXT
    assert (long['f0'], long['f99'], long['n']) == ('y' * MAX_TEXT, '...', 1)
    many = logged('x', **{f'f{number}': number for number in range(100_000)})
    assert many['...'] == '...'
    assert len(many) < 2 * MAX_PARTS


def test_what_is_deep_in_a_field_is_counted_and_not_shown(logged) -> None:
    value: object = {'password': 'hush'}
    for _ in range(6):
        value = [value]
    assert logged('x', rows=value)['rows'] == [[[[[['<dict of 1>']]]]]]


def test_a_strangers_retries_lose_no_line(logged, running) -> None:
    with running(retries='many'):
        assert logged('x')['attempt'] == 1


def test_a_field_gives_way_to_one_that_every_line_has(logged, running) -> None:
    with running():
        line = logged('x', service='another', queue='another', pid=1)
    assert (line['service'], line['service_']) == ('payments', 'another')
    assert (line['queue'], line['queue_']) == ('prod-payments-charge', 'another')
    assert line['pid_'] == 1


def test_a_traceback_is_one_field(logged) -> None:
    try:
        _ = {}['absent']
    except KeyError:
        line = logged('x', exc_info=True)
    assert line['exception'] == 'KeyError'
    assert line['traceback'].startswith('Traceback (most recent call last):\n')
    assert line['traceback'].endswith("KeyError: 'absent'")


def test_inside_a_task_each_line_says_which(logged, running) -> None:
    assert 'task_id' not in logged('x')
    with running():
        line = logged('x', name='urllib3.connectionpool')
    assert {name: line.get(name) for name in OF_THE_TASK} == OF_THE_TASK
    assert 'trace_id' not in line
    assert 'task_id' not in logged('x')


def test_the_trace_is_named_once_there_is_one(logged, running) -> None:
    with running() as task:
        assert 'trace_id' not in logged('before')
        task.request.trace_id = 'abc123'
        assert logged('after')['trace_id'] == 'abc123'


def test_a_task_called_like_a_function_is_part_of_the_one_that_calls_it(logged, running) -> None:
    with running(), running(id=None):
        assert logged('x')['task_id'] == 'an-id'


@pytest.mark.parametrize('name', ['charge', 'refund'])
def test_a_task_run_within_another_is_a_task_of_its_own(logged, running, request, name) -> None:
    with running():
        with running(request.getfixturevalue(name), id='inner'):
            line = logged('x')
            assert (line['task_id'], line['task_name']) == ('inner', name)
        assert logged('x')['task_id'] == 'an-id'


def test_a_task_that_celery_does_not_run_yet_can_be_named(logged, charge) -> None:
    delivery = {'routing_key': 'prod-payments-charge'}
    with about(charge, {'id': 'an-id', 'retries': 1, 'delivery_info': delivery}):
        line = logged('x')
    assert {name: line.get(name) for name in OF_THE_TASK} == OF_THE_TASK
    assert 'task_id' not in logged('x')


@pytest.mark.parametrize(
    ('message', 'action'),
    [(LOG_SUCCESS, 'succeeded'), (LOG_RETRY, 'retried'), (LOG_FAILURE, 'failed')],
)
def test_celerys_lines_of_a_tasks_life_have_fields(logged, running, message, action) -> None:
    data = {
        'id': 'an-id', 'name': 'charge', 'runtime': 0.25, 'return_value': 'hush', 'args': '(1,)',
        'kwargs': '{}', 'exc': 'oh', 'description': 'raised unexpected',
    }  # fmt: skip
    with running():
        line = logged(message, data, name='celery.app.trace', data=data)
    assert line['message'] == message % data
    assert line['action'] == action
    assert line['runtime_seconds'] == 0.25
    assert line.keys().isdisjoint({'args', 'kwargs', 'return_value', 'data'})


def test_a_field_called_data_is_anybodys(logged) -> None:
    assert logged('x', data={'id': 1})['data'] == {'id': 1}
