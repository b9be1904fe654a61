"""Records of the tests' own, and lines about a task."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from be_queue.worker.logs import about
from be_queue.worker.logs.context import ContextFilter

Record = Callable[..., logging.LogRecord]


@pytest.fixture
def record() -> Record:
    """Return a function that makes what a handler formats."""

    def make(message: object, *args: Any, name: str = 'app.tasks', **others: Any) -> Any:
        level = others.pop('level', logging.INFO)
        exc_info = sys.exc_info() if others.pop('exc_info', False) else None
        made = logging.getLogger(name).makeRecord(
            name, level, __file__, 1, message, args, exc_info, extra=others
        )
        assert ContextFilter('worker').filter(made)
        return made

    return make


@pytest.fixture
def about_charge() -> Callable[..., AbstractContextManager[None]]:
    """Return a context manager whose lines are about the task ``charge`` with this request."""
    task = SimpleNamespace(name='charge', max_retries=5)
    delivery = {'routing_key': 'prod-payments-charge'}
    request = {'id': 'an-id', 'retries': 1, 'delivery_info': delivery}
    return lambda **others: about(task, request | others)
