"""A Vault that gives no answer stops the start, in words and in a bounded time."""

from __future__ import annotations

import pytest

from app.config.configuration import ConfigError
from tests.integration.vault.conftest import Configure
from tests.support.ports import free_port
from tests.support.vault import Vault

PASSWORD = 'RESULT_DB_PASS=worker/db#password'


def fault(configure: Configure, **settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        configure(vault_secrets=PASSWORD, **settings)
    (line,) = str(caught.value).splitlines()
    return line


def test_nobody_listens(configure: Configure) -> None:
    url = f'http://127.0.0.1:{free_port()}'
    assert fault(configure, vault_addr=url) == (
        f'VAULT_ADDR={url}: no connection: Connection refused: check that Vault is there, up and '
        'unsealed'
    )


def test_sealed(configure: Configure, vault: Vault) -> None:
    vault.sealed = True
    assert 'Vault is sealed: check' in fault(configure)


def test_one_that_is_sealed_for_a_moment_is_asked_again(configure: Configure, vault: Vault) -> None:
    vault.sealed_for = 1
    assert configure(vault_secrets=PASSWORD)
    assert vault.sealed_for == 0


def test_one_that_accepts_and_never_answers_is_given_up(configure: Configure, vault: Vault) -> None:
    vault.hangs = True
    assert 'no answer within 0.3 s (VAULT_TIMEOUT)' in fault(configure, vault_timeout=0.3)
    assert 1 <= len(vault.requests) <= 3


def test_one_that_sends_a_byte_now_and_then_is_given_up(configure: Configure, vault: Vault) -> None:
    vault.drips = True
    assert 'no answer within 0.3 s (VAULT_TIMEOUT)' in fault(configure, vault_timeout=0.3)


def test_https_to_a_server_that_does_not_speak_it(configure: Configure, vault: Vault) -> None:
    url = vault.url.replace('http:', 'https:')
    assert 'check VAULT_CACERT, and https in VAULT_ADDR' in fault(configure, vault_addr=url)
