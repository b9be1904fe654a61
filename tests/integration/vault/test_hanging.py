"""Requests that hang do not pile up."""

from __future__ import annotations

import threading

import pytest

from app.config.configuration.sections import VaultSettings
from app.config.vault.client import MAX_HANGING, Client
from app.config.vault.errors import AwayError
from tests.support.vault import Vault


def hanging() -> int:
    return sum(thread.name == 'vault request' for thread in threading.enumerate())


def test_requests_that_hang_are_few(vault: Vault) -> None:
    vault.drips = True
    before = hanging()
    client = Client(VaultSettings(vault_addr=vault.url, vault_timeout=0.1))
    for _ in range(2 * MAX_HANGING):
        with pytest.raises(AwayError):
            client.ask('GET', 'sys/health')
    assert hanging() - before <= MAX_HANGING
