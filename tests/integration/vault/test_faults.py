"""A Vault that gives no answer stops the start, in words and in a bounded time."""

from __future__ import annotations

import pytest

from app.config.configuration import ConfigError
from app.config.vault.client import Client
from app.config.vault.login import Token
from app.config.vault.starting import logged_in
from tests.integration.vault.conftest import Configure
from tests.support.ports import free_port
from tests.support.vault import Vault
from tests.support.vault_other import running_other
from tests.support.waiting import wait_until

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


def test_answers_that_come_in_time_but_take_too_long_together(
    configure: Configure, vault: Vault
) -> None:
    vault.slowness = 0.1
    config = configure(vault_timeout=1.5)

    def ask_on(client: Client, token: Token) -> None:
        while True:
            client.ask('GET', 'auth/token/lookup-self', token=token.text)

    with pytest.raises(ConfigError) as caught:
        logged_in(config, ask_on)
    assert str(caught.value) == (
        f'VAULT_ADDR={vault.url}: all requests together took more than 4.5 s, three times '
        'VAULT_TIMEOUT: Vault answers slowly: set a longer VAULT_TIMEOUT'
    )


def test_a_start_whose_time_is_over_still_logs_out(configure: Configure, vault: Vault) -> None:
    vault.logins['approle'] = lambda body: True
    config = configure(vault_role_id='r', vault_secret_id='hush-id', vault_timeout=1.5)

    def take_all(client: Client, token: Token) -> None:
        client._deadline = 0
        client.within(lambda: None)

    with pytest.raises(ConfigError, match='all requests together'):
        logged_in(config, take_all)
    # Asked for within the second; the answer may come when nobody waits for it any more.
    wait_until(lambda: vault.tokens == {}, 'it is logged out')


def test_a_certificate_of_its_own_is_accepted(configure: Configure) -> None:
    with running_other(tls=True) as other:
        other.body = '<html>'
        line = fault(configure, vault_addr=other.url, vault_cacert=other.ca_file)
        assert 'not one of Vault' in line
        assert 'its certificate is not accepted' in fault(configure, vault_addr=other.url)
