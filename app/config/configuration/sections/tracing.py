"""Traces: app/utils/tracing."""

from __future__ import annotations

from pydantic_settings import BaseSettings

__all__ = ['TracingSettings']


class TracingSettings(BaseSettings):
    """Off until it is set."""
