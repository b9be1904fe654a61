from __future__ import annotations

import logging
import os

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from be_queue.worker.logs.formatters import ConsoleFormatter, JsonFormatter
from be_queue.worker.logs.handler import LineHandler
from tests.support.soft_limit import Striking, applying


@pytest.fixture(params=[JsonFormatter('s', 'e', 'r'), ConsoleFormatter(False)])
def log(request, pipe):
    """Return a logger that writes to a pipe."""
    logger = logging.Logger('a')
    logger.addHandler(LineHandler(pipe[0]))
    logger.handlers[0].setFormatter(request.param)
    return logger


class Secretive:
    def __str__(self) -> str:
        raise OSError('horse')


@pytest.mark.parametrize('args', [('%d', 'horse'), ('%s', Secretive()), (Secretive(),)])
def test_a_line_that_cannot_be_shown_leaves_another_without_its_arguments(
    log, pipe, capfd, args
) -> None:
    log.info(*args)
    line = pipe[1]()
    assert f'a line of {__file__}:' in line
    assert ' cannot be logged: ' in line
    assert 'horse' not in line
    assert capfd.readouterr() == ('', '')


def test_a_formatter_that_fails_ends_no_task_and_prints_nothing(log, capfd, monkeypatch) -> None:
    monkeypatch.setattr(log.handlers[0], 'format', lambda _: 1 // 0)
    log.info('horse')
    assert capfd.readouterr() == ('', '')


def test_a_line_that_the_soft_time_limit_strikes_is_whole(log, pipe) -> None:
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        log.info('it is %s', Striking(), extra={'field': Striking()})
    assert 'it is struck' in pipe[1]()


def test_a_pipe_without_a_reader_is_no_error(capfd) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    LineHandler(writer).handle(logging.makeLogRecord({'msg': 'x'}))
    os.close(writer)
    assert capfd.readouterr() == ('', '')


def test_a_line_takes_any_text(pipe) -> None:
    LineHandler(pipe[0]).handle(logging.makeLogRecord({'msg': '\u00e4\udc80'}))
    assert pipe[1]() == '\u00e4\\udc80\n'
