from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
from celery import signals

from be_queue.worker import logs
from be_queue.worker.logs import configure
from be_queue.worker.logs.configure import QUIET

Read = Callable[[], str]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, [*QUIET, 'app', 'kombu'])]
    handlers, levels = root.handlers, [logger.level for logger in loggers]
    for name in ('NO_COLOR', 'FORCE_COLOR', 'TERM'):
        monkeypatch.delenv(name, raising=False)
    for name in ('stdout', 'stderr', 'excepthook'):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, 'excepthook', threading.excepthook)
    yield
    logging.captureWarnings(False)
    root.handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], Read]]:
    """Return a function that puts a pipe, or a terminal, in the place of standard error."""
    ends = []

    def replace(terminal: bool = False) -> Read:
        reader, writer = os.openpty() if terminal else os.pipe()
        ends.extend((reader, writer))
        os.set_blocking(reader, False)
        monkeypatch.setattr(configure, 'STDERR', writer)
        return lambda: os.read(reader, 65536).decode()

    yield replace
    for end in ends:
        os.close(end)


@pytest.fixture
def log_json(configured, stderr) -> Callable[[], Callable[[], list[dict[str, object]]]]:
    """Return a function that has this process log JSON, and returns one that reads the lines.

    In the test itself: for each of its phases pytest has another standard output.
    """

    def start() -> Callable[[], list[dict[str, object]]]:
        read = stderr()
        logs.setup(configured(LOG_FORMAT='json', RESULT_DB_PASS='correct-horse'), 'worker')
        return lambda: [json.loads(line) for line in read().splitlines()]

    return start


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
def test_the_format_is_the_one_that_its_reader_expects(
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
    before = sys.stdout, sys.stderr
    for _ in range(2):
        logs.setup(configured(), 'server')
    assert (sys.stdout, sys.stderr) == before  # prints for a person stay as they are
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
    logs.setup(configured(LOG_LEVEL='error'), 'server')
    for level in ('warning', 'error'):  # a library is no louder than the rest
        getattr(logging.getLogger('urllib3'), level)(f'quiet {level}')
    levels = 'botocore=INFO,kombu=ERROR'
    logs.setup(configured(LOG_LEVEL='debug', LOG_LEVELS=levels), 'server')
    for name in ('app', 'boto3', 'botocore.auth', 'kombu', 'urllib3'):
        for level in ('debug', 'info', 'warning', 'error'):
            getattr(logging.getLogger(name), level)(f'{name} {level}')
    said = [line.rpartition(': ')[2] for line in read().splitlines()]
    assert said == [
        'quiet error',
        'app debug', 'app info', 'app warning', 'app error',
        'boto3 warning', 'boto3 error',
        'botocore.auth info', 'botocore.auth warning', 'botocore.auth error',
        'kombu error',
        'urllib3 warning', 'urllib3 error',
    ]  # fmt: skip


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


def test_prints_are_json_too_and_one_without_a_newline_ends_with_its_task(
    log_json, monkeypatch
) -> None:
    monkeypatch.setattr(signals.task_postrun, 'receivers', [])
    lines = log_json()
    print('two', 'words of 100%')  # noqa: T201
    print('two\nlines\n\nno end', end='', flush=True)  # noqa: T201
    print('correct-horse', file=sys.stderr)  # noqa: T201
    print('of one task', end='')  # noqa: T201
    signals.task_postrun.send(sender=None)
    print('of the next')  # noqa: T201
    assert [(line['logger'], line['level'], line['message']) for line in lines()] == [
        ('stdout', 'INFO', 'two words of 100%'),
        ('stdout', 'INFO', 'two'),
        ('stdout', 'INFO', 'lines'),
        ('stdout', 'INFO', 'no end'),
        ('stderr', 'WARNING', '***'),
        ('stdout', 'INFO', 'of one task'),
        ('stdout', 'INFO', 'of the next'),
    ]


def test_a_program_may_get_the_stream_that_logs(log_json, capfd) -> None:
    log_json()
    program = [sys.executable, '-c', 'print("hello")']
    subprocess.run(program, stdout=sys.stdout, check=True)
    assert capfd.readouterr().out == 'hello\n'


def test_a_handler_that_prints_its_lines_does_not_print_forever(log_json) -> None:
    lines = log_json()
    logging.getLogger().addHandler(logging.StreamHandler())  # a library's, to the new stderr
    print('hello')  # noqa: T201
    assert [line['logger'] for line in lines()] == ['stdout']


@pytest.mark.parametrize('form', ['json', 'console'])
def test_an_error_that_nobody_catches_is_logged(configured, stderr, form) -> None:
    def fail() -> None:
        raise ValueError('correct-horse')

    read = stderr()
    logs.setup(configured(LOG_FORMAT=form, RESULT_DB_PASS='correct-horse'), 'worker')
    thread = threading.Thread(target=fail, name='T')
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    text = read()
    assert text.count('CRITICAL') == text.count('app.uncaught') == 2
    assert 'a thread ended with an error' in text
    assert 'an error that nobody caught' in text
    assert text.count('Traceback (most recent call last):') == text.count('ValueError: ***') == 2
    if form == 'json':
        first, second = map(json.loads, text.splitlines())
        assert (first['thread_name'], second['exception']) == ('T', 'ValueError')


@pytest.mark.parametrize('env', ['local', 'prod'])
def test_a_fault_at_the_start_is_json_but_for_a_person(stderr, monkeypatch, capsys, env) -> None:
    read = stderr()
    monkeypatch.setenv('ENV', env)
    logs.cannot_start(ValueError('one\ntwo http://u:horse@h'))
    expected = ['cannot start: one', 'cannot start: two http://u:***@h']
    if env == 'local':
        assert capsys.readouterr().err.splitlines() == expected
        return
    said = [json.loads(line) for line in read().splitlines()]
    assert [line['message'] for line in said] == expected
    assert {(line['level'], line['process']) for line in said} == {('CRITICAL', 'server')}
