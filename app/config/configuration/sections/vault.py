"""Secrets: app/utils/vault."""

from __future__ import annotations

from pydantic_settings import BaseSettings

__all__ = ['VaultSettings']


class VaultSettings(BaseSettings):
    """Off until it is set."""
