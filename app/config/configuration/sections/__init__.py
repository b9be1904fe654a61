"""Vault's part of `Config`."""

from app.config.configuration.sections.vault import VaultSettings

__all__ = ['VaultSettings']
