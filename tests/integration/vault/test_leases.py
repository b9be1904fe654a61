"""What is due is done one step at a time, and no time has to pass."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from app.config.configuration import Config
from app.config.vault.client import Client
from app.config.vault.errors import AwayError, DeniedError, FailingError
from app.utils.vault import leases as module
from app.utils.vault import patience
from app.utils.vault.leases import Leases
from app.utils.vault.shared import SharedLogin
from tests.integration.vault.conftest import APPROLE
from tests.support.vault import Vault

CREDS = 'database/creds/worker'


@pytest.fixture
def shared() -> SharedLogin:
    return SharedLogin()


@pytest.fixture
def leases(vault: Vault, config: Callable[..., Config], shared: SharedLogin) -> Leases:
    vault.logins['approle'] = lambda body: True
    return Leases(Client(config(**APPROLE)), shared)


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything due at each step."""
    monkeypatch.setattr(module, 'USE_PART', 0)


@pytest.mark.usefixtures('due')
def test_a_lease_is_prolonged_by_a_whole_number(leases: Leases, vault: Vault) -> None:
    leases.step()
    leases.step()
    (body,) = (body for _, path, body in vault.requests if path == 'sys/leases/renew')
    assert body['increment'] == 3600
    assert isinstance(body['increment'], int)
    assert vault.count(CREDS) == 1


@pytest.mark.usefixtures('due')
@pytest.mark.parametrize('path', ['sys/leases/renew', 'auth/token/renew-self'])
def test_why_nothing_is_prolonged_is_logged_once(
    leases: Leases, vault: Vault, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level('INFO')
    vault.denied.add(path)
    for _ in range(3):
        leases.step()
    assert sum(f'{path}, so another is asked for: ' in line for line in caplog.messages) == 1


@pytest.mark.usefixtures('due')
def test_a_login_that_fails_once_between_does_not_keep_a_lease_of_the_old_token(
    leases: Leases, vault: Vault
) -> None:
    leases.step()
    (old,) = vault.tokens
    vault.denied.add('auth/token/renew-self')
    vault.failing.add('auth/approle/login')
    with pytest.raises(FailingError):
        leases.step()
    assert leases.ends_at > time.monotonic()
    vault.failing.clear()
    leases.step()
    vault.revoke(old)
    assert len(vault.database.made) == 2
    assert vault.database.dropped == vault.database.made[:1]


def test_logins_that_do_not_help_are_given_back(
    leases: Leases, vault: Vault, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.step()
    monkeypatch.setattr(module, 'USE_PART', 0)
    tokens = set(vault.tokens)
    vault.denied |= {'sys/leases/renew', CREDS}
    for _ in range(3):
        with pytest.raises(DeniedError) as caught:
            leases.step()
        assert caught.value.path == CREDS
    assert vault.count('auth/approle/login') == 4
    assert set(vault.tokens) == tokens
    # Once it is allowed, the same token gets one.
    vault.denied.clear()
    leases.step()
    assert set(vault.tokens) == tokens


def test_a_login_is_asked_for_ever_more_seldom_while_the_database_refuses_each(
    leases: Leases,
    vault: Vault,
    shared: SharedLogin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(patience, 'STEPS', (0, 3600))
    leases.step()
    shared.refuse(shared.read(), 'FATAL: there is no such place')
    assert leases.must_replace()
    leases.step()
    assert vault.count(CREDS) == 2
    assert 'refuses its login, asking Vault for another: FATAL: there is no such' in caplog.text
    shared.refuse(shared.read(), 'FATAL: there is no such place')
    assert not leases.must_replace()
    leases.step()
    assert vault.count(CREDS) == 2


@pytest.mark.parametrize('refused', [True, False])
def test_patience_is_short_again_once_a_login_has_lasted(
    leases: Leases,
    vault: Vault,
    shared: SharedLogin,
    monkeypatch: pytest.MonkeyPatch,
    refused: bool,
) -> None:
    monkeypatch.setattr(patience, 'STEPS', (0, 3600))
    leases.step()
    shared.refuse(shared.read())
    leases.step()
    if refused:
        shared.refuse(shared.read())
    monkeypatch.setattr(module, 'USE_PART', 0)
    leases.step()
    assert vault.count('sys/leases/renew') == 1
    shared.refuse(shared.read())
    assert leases.must_replace() is not refused


def test_that_the_database_refuses_a_login_is_said_once(
    leases: Leases,
    vault: Vault,
    shared: SharedLogin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(patience, 'STEPS', (0,))
    leases.step()
    vault.sealed = True
    shared.refuse(shared.read())
    for _ in range(3):
        with pytest.raises(AwayError):
            leases.step()
    assert caplog.text.count('refuses its login') == 1


@pytest.mark.parametrize(('token', 'lease'), [(1000, 3600), (3600, 1000)])
def test_a_login_ends_with_its_token_or_its_lease(
    leases: Leases, vault: Vault, token: float, lease: float
) -> None:
    vault.token_ttl, vault.lease_ttl = token, lease
    leases.step()
    assert leases.ends_at - time.monotonic() <= 1000


@pytest.mark.parametrize('policy', ['allows it', 'does not'])
def test_what_a_batch_token_has_made_is_given_back(
    leases: Leases, vault: Vault, shared: SharedLogin, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, 'STEPS', (0,))
    vault.denied.add('auth/token/revoke-self')
    leases.step()
    shared.refuse(shared.read())
    leases.step()
    assert len(vault.leases) == 2
    client = Client(leases._client.settings)
    if policy == 'allows it':
        leases.give_back(client)
        assert vault.leases == {}
    else:
        vault.denied.add('sys/leases/revoke')
        with pytest.raises(DeniedError):
            leases.give_back(client)
        # One that is refused does not keep the next from being tried.
        assert vault.count('sys/leases/revoke') == 2
