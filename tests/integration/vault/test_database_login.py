"""The login of the result database: kept, replaced and given back, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.utils import vault as integration
from app.utils.idempotency import Guard, lock_key
from app.utils.vault import database, patience
from be_queue.results import engine_options
from tests.integration.vault.conftest import APPROLE, user
from tests.support.postgres import PostgresServer
from tests.support.vault import Vault
from tests.support.waiting import wait_until

#: Seconds of a token or a lease that a test waits for the end of.
SHORT = 1
#: Seconds of one that is to be prolonged in time, though the machine stand still for one of them.
LONGER = 4


def test_the_url_names_no_login(started: Callable[..., Engine], vault: Vault) -> None:
    engine = started(**APPROLE)
    assert engine.url.username is engine.url.password is None
    assert user(engine) == vault.database.made[-1]
    assert vault.given[-1] not in repr(database.login())


def test_connections_go_on_while_logins_come_and_go(
    started: Callable[..., Engine], vault: Vault
) -> None:
    vault.lease_ttl = vault.lease_max_ttl = LONGER
    engine = started(**APPROLE)
    seen = set()

    def ended() -> bool:
        seen.add(user(engine))  # never fails
        return len(vault.database.dropped) >= 2

    wait_until(ended, 'two logins have ended')
    assert seen >= set(vault.database.dropped)


def test_a_lease_that_can_be_prolonged_is_kept(
    started: Callable[..., Engine], vault: Vault
) -> None:
    vault.lease_ttl = LONGER
    engine = started(**APPROLE)
    first = user(engine)
    wait_until(lambda: vault.count('sys/leases/renew') >= 2, 'it is prolonged again and again')
    assert user(engine) == first
    assert vault.count('database/creds/worker') == 1


def test_a_lease_that_may_not_be_prolonged_is_replaced(
    started: Callable[..., Engine], vault: Vault
) -> None:
    vault.lease_ttl = SHORT
    vault.denied.add('sys/leases/renew')
    engine = started(**APPROLE)
    first = user(engine)
    wait_until(lambda: user(engine) != first, 'there is another login')


def test_a_login_that_the_database_refuses_is_replaced(
    started: Callable[..., Engine], vault: Vault
) -> None:
    engine = started(pooled=False, **APPROLE)
    first = user(engine)
    vault.database.drop(first)
    with pytest.raises(OperationalError):
        user(engine)

    def works() -> bool:
        try:
            return user(engine) != first
        except OperationalError:
            return False

    wait_until(works, 'there is another login')
    assert vault.count('database/creds/worker') == 2


def test_a_connection_of_an_earlier_login_is_given_up_before_its_end(
    started: Callable[..., Engine], vault: Vault
) -> None:
    engine = started(**APPROLE)
    first = user(engine)
    database.refused(database.login())
    wait_until(lambda: vault.count('database/creds/worker') == 2, 'there is another login')
    wait_until(lambda: user(engine) != first, 'it is used')
    assert vault.database.dropped == []


def body() -> None:
    """Stand for a task's function."""


def test_the_guard_takes_the_new_login_between_two_tasks(
    started: Callable[..., Engine], vault: Vault, postgres: PostgresServer
) -> None:
    url = started(**APPROLE).url.render_as_string()
    app = Celery('guarded', broker='memory://', backend=f'db+{url}', set_as_current=False)
    app.conf.update(result_extended=True, database_engine_options=engine_options(url))
    guard, task = Guard(app), app.task(body, name='task', shared=False)
    guarded = guard.around(task, lambda *_: holder_of(lock_key('some')))

    def holder_of(key: int) -> str:
        with postgres.connect() as connection:
            rows = connection.execute(
                'SELECT usename FROM pg_stat_activity JOIN pg_locks USING (pid) '
                "WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = %s",
                [key],
            )
            return str(rows.fetchone())

    first = guarded('some', (), {}, {})
    assert vault.database.made[-1] in first
    database.refused(database.login())
    wait_until(lambda: vault.count('database/creds/worker') == 2, 'there is another login')
    wait_until(lambda: vault.database.made[-1] == database.login().user, 'it is known')
    assert vault.database.made[-1] in guarded('some', (), {}, {})
    guard._disconnect()


def test_a_token_is_renewed(started: Callable[..., Engine], vault: Vault) -> None:
    vault.token_ttl = LONGER
    engine = started(**APPROLE)
    first = user(engine)
    wait_until(lambda: vault.count('auth/token/renew-self') >= 2, 'it is renewed again and again')
    assert vault.count('auth/approle/login') == 1
    assert user(engine) == first


@pytest.mark.parametrize('why', ['its last end is near', 'renewal is denied'])
def test_a_token_that_is_renewed_no_longer_is_followed_by_another(
    started: Callable[..., Engine], vault: Vault, why: str
) -> None:
    vault.token_ttl = 2
    if why == 'renewal is denied':
        vault.denied.add('auth/token/renew-self')
    else:
        vault.token_max_ttl = 2
    engine = started(**APPROLE)
    first = user(engine)
    # The login ends with the token that asked for it.
    wait_until(lambda: first in vault.database.dropped and user(engine) != first, 'another login')
    assert vault.count('auth/approle/login') >= 2


def test_a_token_that_was_revoked_is_followed_by_another(
    started: Callable[..., Engine], vault: Vault
) -> None:
    vault.lease_ttl = SHORT
    engine = started(**APPROLE)
    first = user(engine)
    vault.revoke(next(iter(vault.tokens)))
    wait_until(lambda: len(vault.database.made) == 2, 'another login')
    assert user(engine) != first


@pytest.mark.parametrize('fault', ['sealed', 'hangs'])
def test_while_vault_is_away_the_login_goes_on_and_the_log_says_so_once(
    started: Callable[..., Engine],
    vault: Vault,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setattr(patience, 'STEPS', (0,))
    engine = started(vault_timeout=1, **APPROLE)
    wait_until(database.login, 'there is a login, though the machine be slow')
    caplog.clear()
    assert user(engine)
    setattr(vault, fault, True)
    asked = len(vault.requests)
    # Which lasts for an hour: Vault is asked at once, and the line's time is far from over.
    database.refused(database.login())
    wait_until(lambda: len(vault.requests) >= asked + 3, 'it is tried again')
    assert user(engine)
    (line,) = [line for line in caplog.messages if line.startswith('Vault is away')]
    assert 'check VAULT_ADDR, VAULT_DB_ROLE, VAULT_ROLE_ID, VAULT_SECRET_ID' in line
    assert 'the login of the result database ends in ' in line
    setattr(vault, fault, False)
    wait_until(lambda: any('Vault is back' in line for line in caplog.messages), 'it is back')
    assert sum('Vault is away' in line for line in caplog.messages) == 1


def test_at_the_end_the_login_is_given_back(started: Callable[..., Engine], vault: Vault) -> None:
    started(**APPROLE)
    integration.stop()
    assert vault.tokens == {}
    assert vault.database.dropped == vault.database.made


def test_at_the_end_a_token_that_was_given_is_kept(
    started: Callable[..., Engine], vault: Vault
) -> None:
    started()
    integration.stop()
    assert vault.database.dropped == vault.database.made
    assert len(vault.tokens) == 1
    assert vault.count('auth/token/revoke-self') == 0


@pytest.mark.timeout(30)  # seconds: fewer than VAULT_TIMEOUT here
def test_the_end_does_not_wait_for_a_vault_that_hangs(
    started: Callable[..., Engine], vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    started(vault_timeout=60, **APPROLE)
    vault.hangs = True
    caplog.set_level('INFO')
    integration.stop()
    assert 'end by themselves' in caplog.text
