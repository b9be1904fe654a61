"""Errors: app/utils/sentry."""

from __future__ import annotations

from pydantic_settings import BaseSettings

__all__ = ['SentrySettings']


class SentrySettings(BaseSettings):
    """Off until it is set."""
