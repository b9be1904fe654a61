"""The tasks, called as functions."""

from __future__ import annotations

import pytest

from app.tasks.tasks import add, retry_demo, slow


def test_add() -> None:
    assert add(2, 3) == 5


def test_retry_demo() -> None:
    assert retry_demo(failures=0) == 'succeeded at attempt 1'
    with pytest.raises(ConnectionError, match='attempt 1 fails'):
        retry_demo(failures=1)


def test_slow() -> None:
    assert slow(0) == 0
