from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from be_queue.worker import logs
from be_queue.worker.logs import configure
from be_queue.worker.logs.configure import QUIET, LineHandler
from be_queue.worker.logs.formatters import ConsoleFormatter, JsonFormatter
from be_queue.worker.settings import ConfigError
from tests.support.soft_limit import Striking, applying

Read = Callable[[], str]
pytestmark = pytest.mark.usefixtures('no_secrets')


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


@pytest.mark.parametrize(
    ('variables', 'terminal', 'form'),
    [
        ({'ENV': 'prod'}, False, 'json'),
        ({'ENV': 'prod'}, True, 'coloured'),
        ({'ENV': 'local'}, False, 'plain'),
        ({'ENV': 'local'}, True, 'coloured'),
        ({'ENV': 'local', 'LOG_FORMAT': 'JSON'}, True, 'json'),
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


def test_levels_come_from_the_settings(configured, stderr) -> None:
    read = stderr()
    logs.setup(configured(LOG_LEVEL='error'), 'server')
    for level in ('warning', 'error'):  # a library is no louder than the rest
        getattr(logging.getLogger('urllib3'), level)(f'quiet {level}')
    levels = ' botocore = info,kombu=ERROR,'
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


@pytest.mark.parametrize(
    ('name', 'value', 'rule'),
    [
        ('LOG_LEVELS', '=DEBUG', "not '=DEBUG'"),
        ('LOG_LEVELS', 'boto=INFO,kombu=LOUD', "not 'kombu=LOUD'"),
        ('LOG_LEVELS', 'kombu', 'for example sqlalchemy.engine=INFO,kombu=DEBUG'),
        ('LOG_FORMAT', 'xml', "'auto', 'json' or 'console'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_in_one_line(
    configured, name, value, rule
) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**{name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f'{name}={value!r}: must be ')
    assert rule in line


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


def test_prints_are_json_too_also_where_a_handler_prints_its_lines(
    configured, stderr, capfd
) -> None:
    read = stderr()
    logs.setup(configured(LOG_FORMAT='json', RESULT_DB_PASS='correct-horse'), 'worker')
    logging.getLogger().addHandler(logging.StreamHandler())  # a library's, to the new stderr
    print('two', 'words of 100%')  # noqa: T201
    print('two\nlines\n\nno end', end='', flush=True)  # noqa: T201
    print('correct-horse', file=sys.stderr)  # noqa: T201
    lines = [json.loads(line) for line in read().splitlines()]
    assert [(line['logger'], line['level'], line['message']) for line in lines] == [
        ('stdout', 'INFO', 'two words of 100%'),
        ('stdout', 'INFO', 'two'),
        ('stdout', 'INFO', 'lines'),
        ('stdout', 'INFO', 'no end'),
        ('stderr', 'WARNING', '***'),
    ]
    # A program may get the stream that logs.
    subprocess.run([sys.executable, '-c', 'print("hello")'], stdout=sys.stdout, check=True)
    assert capfd.readouterr().out == 'hello\n'


@pytest.mark.parametrize('form', ['json', 'console'])
def test_an_error_that_nobody_catches_is_logged(configured, stderr, form) -> None:
    def fail() -> None:
        raise ValueError('correct-horse')

    read = stderr()
    logs.setup(configured(LOG_FORMAT=form, RESULT_DB_PASS='correct-horse'), 'worker')
    for target in (sys.exit, fail):
        thread = threading.Thread(target=target, name='T')
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


@pytest.fixture(params=[JsonFormatter('s', 'e', 'r'), ConsoleFormatter(False)])
def log(request, stderr):
    """Return a logger, and a function that reads its lines."""
    read = stderr()
    logger = logging.Logger('a')
    logger.addHandler(LineHandler(configure.STDERR))
    logger.handlers[0].setFormatter(request.param)
    return logger, read


class Secretive:
    def __str__(self) -> str:
        raise OSError('horse')


@pytest.mark.parametrize('args', [('%d', 'horse'), ('%s', Secretive()), (Secretive(),)])
def test_a_line_that_cannot_be_shown_leaves_another_without_its_arguments(log, capfd, args) -> None:
    logger, read = log
    logger.info(*args)
    line = read()
    assert f'a line of {__file__}:' in line
    assert ' cannot be logged: ' in line
    assert 'horse' not in line
    assert capfd.readouterr() == ('', '')


def test_a_line_that_the_soft_time_limit_strikes_is_whole(log) -> None:
    logger, read = log
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        logger.info('it is %s', Striking(), extra={'field': Striking()})
    assert 'it is struck' in read()


def test_a_line_takes_any_text_and_a_pipe_without_a_reader_is_no_error(stderr, capfd) -> None:
    read = stderr()
    LineHandler(configure.STDERR).handle(logging.makeLogRecord({'msg': '\u00e4\udc80'}))
    assert read() == '\u00e4\\udc80\n'
    reader, writer = os.pipe()
    os.close(reader)
    LineHandler(writer).handle(logging.makeLogRecord({'msg': 'x'}))
    os.close(writer)
    assert capfd.readouterr() == ('', '')
