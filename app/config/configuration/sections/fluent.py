"""Event logs: app/utils/fluent."""

from __future__ import annotations

from pydantic_settings import BaseSettings

__all__ = ['FluentSettings']


class FluentSettings(BaseSettings):
    """Off until it is set."""
