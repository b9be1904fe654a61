"""Keeps the apps of these tests free of what other tests leave behind in Celery."""

from __future__ import annotations

import pytest
from celery import _state


@pytest.fixture(autouse=True)
def _no_shared_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery gives a shared_task of any module imported so far to every new app."""
    own = {f for f in _state._on_app_finalizers if f.__module__ == 'celery.app.builtins'}
    monkeypatch.setattr(_state, '_on_app_finalizers', own)
