from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from app.utils import logs
from app.utils.logs import root as module
from app.utils.logs.root import QUIET

VARIABLES = ('NO_COLOR', 'FORCE_COLOR', 'TERM')


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, [*QUIET, 'app', 'kombu'])]
    handlers, levels = root.handlers, [logger.level for logger in loggers]
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ('stdout', 'stderr', 'excepthook'):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, 'excepthook', threading.excepthook)
    yield
    logging.captureWarnings(False)
    root.handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


Read = Callable[[], str]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], Read]]:
    """Return a function that puts a pipe, or a terminal, in the place of standard error."""
    ends = []

    def replace(terminal: bool = False) -> Read:
        reader, writer = os.openpty() if terminal else os.pipe()
        ends.extend((reader, writer))
        os.set_blocking(reader, False)
        monkeypatch.setattr(module, 'standard_error', lambda: writer)
        return lambda: os.read(reader, 65536).decode()

    yield replace
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ('variables', 'terminal', 'form'),
    [
        ({'ENV': 'prod'}, False, 'json'),
        ({'ENV': 'prod'}, True, 'coloured'),
        ({'ENV': 'local'}, False, 'plain'),
        ({'ENV': 'local'}, True, 'coloured'),
        ({'ENV': 'local', 'LOG_FORMAT': 'json'}, True, 'json'),
        ({'ENV': 'prod', 'LOG_FORMAT': 'console'}, False, 'plain'),
        ({'ENV': 'local', 'NO_COLOR': '1'}, True, 'plain'),
        ({'ENV': 'local', 'NO_COLOR': ''}, True, 'coloured'),
        ({'ENV': 'local', 'TERM': 'dumb'}, True, 'plain'),
        ({'ENV': 'local', 'FORCE_COLOR': '1'}, False, 'coloured'),
        ({'ENV': 'local', 'FORCE_COLOR': '1', 'NO_COLOR': '1'}, True, 'plain'),
    ],
)
def test_the_format_is_what_whoever_reads_expects(
    configured, stderr, variables, terminal, form
) -> None:
    read = stderr(terminal)
    logs.setup(configured(**variables), 'server')
    logging.getLogger('app').warning('hello')
    text = read()
    assert 'hello' in text
    assert (text[0] == '{') == (form == 'json')
    assert ('\x1b[' in text) == (form == 'coloured')


def test_lines_of_libraries_join_in_once(configured, stderr) -> None:
    read = stderr()
    logging.getLogger().addHandler(logging.StreamHandler())
    for _ in range(2):
        logs.setup(configured(), 'server')
    logging.getLogger('urllib3.connectionpool').warning('from a library')
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.warn('from Python', stacklevel=1)
    first, second, *_ = read().splitlines()
    assert first.endswith('WARNING server urllib3.connectionpool: from a library')
    assert 'WARNING server py.warnings: ' in second
    assert second.endswith('UserWarning: from Python')


def test_levels_come_from_the_settings(configured, stderr) -> None:
    read = stderr()
    levels = 'botocore=INFO,kombu=ERROR'
    logs.setup(configured(LOG_LEVEL='debug', LOG_LEVELS=levels), 'server')
    for name in ('app', 'boto3', 'botocore.auth', 'kombu', 'urllib3'):
        for level in ('debug', 'info', 'warning', 'error'):
            getattr(logging.getLogger(name), level)(f'{name} {level}')
    said = [line.rpartition(': ')[2] for line in read().splitlines()]
    assert said == [
        'app debug', 'app info', 'app warning', 'app error',
        'boto3 warning', 'boto3 error',
        'botocore.auth info', 'botocore.auth warning', 'botocore.auth error',
        'kombu error',
        'urllib3 warning', 'urllib3 error',
    ]  # fmt: skip


def test_a_library_is_no_louder_than_the_rest(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_LEVEL='ERROR'), 'server')
    logging.getLogger('urllib3').warning('a warning')
    logging.getLogger('urllib3').error('an error')
    (line,) = read().splitlines()
    assert 'an error' in line


def test_a_file_is_appended_to(configured, stderr, tmp_path) -> None:
    stderr()
    path = tmp_path / 'log'
    path.write_text('before\n')
    logs.setup(configured(), 'worker', 'WARNING', str(path))
    logging.getLogger('app').info('below the level')
    logging.getLogger('app').warning('hello')
    before, line = path.read_text().splitlines()
    assert before == 'before'
    assert line.endswith('hello')


def test_what_is_printed_is_json_too(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_FORMAT='json'), 'worker')
    print('two', 'words')  # noqa: T201
    print('two\nlines\n\nno end', end='', flush=True)  # noqa: T201
    print('an error', file=sys.stderr)  # noqa: T201
    said = [json.loads(line) for line in read().splitlines()]
    assert [(line['logger'], line['level'], line['message']) for line in said] == [
        ('stdout', 'INFO', 'two words'),
        ('stdout', 'INFO', 'two'),
        ('stdout', 'INFO', 'lines'),
        ('stdout', 'INFO', 'no end'),
        ('stderr', 'WARNING', 'an error'),
    ]


def test_what_is_printed_for_a_person_stays_as_it_is(configured, stderr) -> None:
    stderr()
    before = sys.stdout, sys.stderr
    logs.setup(configured(LOG_FORMAT='console'), 'worker')
    assert (sys.stdout, sys.stderr) == before


def test_a_handler_that_prints_what_it_is_given_does_so_once(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_FORMAT='json'), 'worker')
    logging.getLogger().addHandler(logging.StreamHandler())  # a library's, to the new stderr
    print('hello')  # noqa: T201
    said = [json.loads(line)['logger'] for line in read().splitlines()]
    assert said == ['stdout', 'stderr']


def fail_in_a_thread_and_at_the_top() -> None:
    def fail() -> None:
        raise ValueError('in a thread')

    thread = threading.Thread(target=fail, name='T')
    thread.start()
    thread.join()
    try:
        raise ValueError('at the top')
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)


def test_an_error_that_nobody_catches_is_one_line(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_FORMAT='json'), 'worker')
    fail_in_a_thread_and_at_the_top()
    first, second = (json.loads(line) for line in read().splitlines())
    assert (first['level'], first['exception'], first['thread_name']) == (
        'CRITICAL',
        'ValueError',
        'T',
    )
    assert first['traceback'].endswith('ValueError: in a thread')
    assert (second['level'], second['exception']) == ('CRITICAL', 'ValueError')


def test_an_error_that_nobody_catches_is_logged_for_a_person_too(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_FORMAT='console'), 'worker')
    fail_in_a_thread_and_at_the_top()
    text = read()
    assert 'CRITICAL worker app.uncaught: a thread ended with an error thread_name=T\n' in text
    assert 'CRITICAL worker app.uncaught: an error that nobody caught\n' in text
    assert text.count('Traceback (most recent call last):') == 2


def test_what_keeps_it_from_starting_is_said_for_a_person(stderr, monkeypatch, capsys) -> None:
    stderr()
    monkeypatch.setenv('ENV', 'local')
    logs.cannot_start(ValueError('one\ntwo'))
    assert capsys.readouterr().err == 'cannot start: one\ncannot start: two\n'


def test_what_keeps_it_from_starting_is_json_in_a_container(stderr, monkeypatch) -> None:
    read = stderr()
    monkeypatch.setenv('ENV', 'prod')
    logs.cannot_start(ValueError('one\ntwo'))
    said = [json.loads(line) for line in read().splitlines()]
    assert [(line['level'], line['message']) for line in said] == [
        ('CRITICAL', 'cannot start: one'),
        ('CRITICAL', 'cannot start: two'),
    ]
