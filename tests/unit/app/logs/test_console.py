from __future__ import annotations

import logging
import re

import pytest

from app.utils.logs.console import ConsoleFormatter

ANSI = re.compile(r'\x1b\[[0-9;]*m')


@pytest.fixture
def logged(record):
    """Return a function that returns a line as it is shown."""

    def show(*args, colours: bool = False, **others) -> str:
        return ConsoleFormatter('worker', colours).format(record(*args, **others))

    return show


def test_a_line_reads_from_left_to_right(logged) -> None:
    line = logged('ready: %d', 1, name='app.server', count=2, action='x', text='two words')
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO    worker app\.server: ready: 1 '
        r'count=2 text="two words"',
        line,
    )


def test_colours_change_no_word(logged) -> None:
    given = {'name': 'app.server', 'level': logging.ERROR, 'count': 2}
    plain, coloured = (logged('gone', colours=c, **given) for c in (False, True))
    assert '\x1b' not in plain
    assert '\x1b[31mERROR' in coloured
    # On a terminal the day is known.
    assert ANSI.sub('', coloured)[12:] == plain[23:]


def test_what_the_message_says_is_not_said_again(logged, running) -> None:
    data = {'id': 'an-id', 'name': 'charge'}
    with running():
        line = logged(
            'Task %(name)s[%(id)s] received', data, name='celery.worker.strategy', data=data
        )
    assert line.endswith(
        'Task charge[an-id] received queue=prod-payments-charge attempt=2 max_attempts=6'
    )


def test_inside_a_task_a_line_says_which(logged, running) -> None:
    with running():
        assert ': paid task_id=an-id task_name=charge queue=' in logged('paid')


def test_a_traceback_stands_below(logged) -> None:
    try:
        raise ValueError('no')
    except ValueError:
        first, second, *_, last = logged('failed', exc_info=True, level=40).splitlines()
    assert first.endswith('failed')
    assert second == 'Traceback (most recent call last):'
    assert last == 'ValueError: no'


def test_a_message_cannot_pass_for_another_line_or_move_the_cursor(logged) -> None:
    line = logged('one\n2026-01-01 CRITICAL two\r\x1b[2J\x9b', field='a\nb\x1b')
    first, second = line.split('\n')
    assert first.endswith('one')
    assert second == r'    2026-01-01 CRITICAL two\x0d\x1b[2J\x9b field="a\nb\u001b"'
