"""Traces."""

from __future__ import annotations

from app.config.configuration import Config
from app.utils.role import Role

__all__ = ['start', 'stop']


def start(config: Config, role: Role) -> None:
    """Start in this process, after its fork."""


def stop() -> None:
    """Flush and end, within a bounded time."""
