"""Tells the result backend which process it is in, where it wants to know."""

from __future__ import annotations

from celery import current_app

from app.utils.result_store import ResultStore
from app.utils.role import Role

__all__ = ['flush', 'play']


def play(role: Role) -> None:
    """Have the result backend behave as ``role`` must."""
    if isinstance(current_app.backend, ResultStore):
        current_app.backend.play(role)


def flush() -> None:
    """Have the result backend store what is left, for the last time."""
    if isinstance(current_app.backend, ResultStore):
        current_app.backend.flush()
