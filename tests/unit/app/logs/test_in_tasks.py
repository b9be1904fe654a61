"""Lines of tasks that Celery runs, as it does in a pool process."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.exceptions import SoftTimeLimitExceeded

from app.utils.logs import printed
from app.utils.logs.json_lines import JsonFormatter
from app.utils.logs.writing import LineHandler
from tests.support.soft_limit import Striking, applying, strike


class Backend(DisabledBackend):
    def mark_as_done(self, *_: Any, **__: Any) -> None: ...

    mark_as_failure = mark_as_done


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return a function that returns the lines since it was called before."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    handler = LineHandler(writer)
    handler.setFormatter(JsonFormatter('worker', 's', 'e', 'r'))
    for signal in (signals.task_prerun, signals.task_postrun):
        monkeypatch.setattr(signal, 'receivers', [])
    root = logging.getLogger()
    monkeypatch.setattr(root, 'handlers', [handler])
    monkeypatch.setattr(root, 'level', logging.INFO)

    def read() -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in os.read(reader, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    yield read
    os.close(reader)
    os.close(writer)


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that has a test's prints logged: pytest has its own for each test."""

    def capture() -> None:
        for name in ('stdout', 'stderr'):
            monkeypatch.setattr(sys, name, getattr(sys, name))
        printed.capture()

    return capture


@pytest.fixture
def run(lines) -> Run:
    """Return a function that runs a function as a task; it returns the lines."""
    app = Celery('in_tasks', broker='memory://', set_as_current=False)
    app.backend_cls = Backend

    def run(function: Callable[[], None], **request: Any) -> list[dict[str, Any]]:
        task = app.task(name=function.__name__, shared=False)(function)
        app.finalize()
        tracer = trace.build_tracer(task.name, task, app.loader, 'host', app=app)
        task_id = f'id-of-{task.name}'
        given = {'id': task_id, 'retries': 2, 'delivery_info': {'routing_key': 'a-queue'}}
        tracer(task_id, (), {}, given | request)
        return lines()

    return run


def test_what_a_task_prints_without_a_newline_is_a_line_of_its_own(run: Run, capture) -> None:
    capture()

    def refuses() -> None:
        print('customer 17 refused', end='')  # noqa: T201
        print('and nothing else', end='', file=sys.stderr)  # noqa: T201

    def pays() -> None:
        print('all is well')  # noqa: T201

    said = [*run(refuses), *run(pays)]
    assert [
        (line['message'], line['task_id']) for line in said if line['logger'].startswith('std')
    ] == [
        ('customer 17 refused', 'id-of-refuses'),
        ('and nothing else', 'id-of-refuses'),
        ('all is well', 'id-of-pays'),
    ]


def test_a_line_that_the_soft_time_limit_strikes_is_whole(lines) -> None:
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        logging.getLogger('a').info('it is %s', Striking(), extra={'field': Striking()})
    (line,) = lines()
    assert (line['message'], line['field']) == ('it is struck', 'struck')


def test_the_soft_time_limit_strikes_after_what_is_printed(lines, capture, monkeypatch) -> None:
    format_line = JsonFormatter.format

    def formatted(self: JsonFormatter, record: logging.LogRecord) -> str:
        if record.getMessage() == 'two':
            strike()
        return format_line(self, record)

    monkeypatch.setattr(JsonFormatter, 'format', formatted)
    capture()
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        print('one\ntwo\nthree')  # noqa: T201
    sys.stdout.flush()
    print('four')  # noqa: T201
    assert [line['message'] for line in lines()] == ['one', 'two', 'three', 'four']
