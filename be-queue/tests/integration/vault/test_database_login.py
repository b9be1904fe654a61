"""The login of the result database: kept, replaced and revoked, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.config.configuration import Config
from be_queue import SettingError
from be_queue.results import engine_options
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until
from be_queue.worker import vault
from be_queue.worker.idempotency import Guard
from be_queue.worker.settings import ConfigError
from be_queue.worker.settings.worker_config import vault_backend
from be_queue.worker.vault import database, lease_keeper
from be_queue.worker.vault.lease_keeper import LeaseKeeper
from be_queue.worker.vault.shared_login import SharedLogin
from tests.integration.vault.conftest import POLICY, Read, user
from tests.support.faulty import no_answer
from tests.support.faulty_service import says
from tests.support.openbao import OpenBao

Start = Callable[..., Engine]

RENEW_TOKEN, RENEW_LEASE = 'auth/token/renew-self', 'sys/leases/renew'
LOGIN, REVOKE_TOKEN = 'auth/approle/login', 'auth/token/revoke-self'


def asked_for_users(bao: OpenBao) -> int:
    return sum(n for path, n in bao.requests.items() if path.startswith('database/creds/'))


def refuse_login() -> None:
    """Have another login asked for, as the database does."""
    database._shared.refuse(database._shared.read())


def test_the_login_is_renewed_while_vault_allows_it(
    started: Start, bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Due after a second: a busy machine has 19 more for it.
    monkeypatch.setattr(lease_keeper, 'USE_PART', 1 / 20)
    engine = started(ttl=20, **bao.approle(POLICY, token_ttl='20s'))
    assert engine.url.username is engine.url.password is None
    first = user(engine)
    assert first.startswith('v-approle-')
    wait_until(
        lambda: min(bao.requests[RENEW_TOKEN], bao.requests[RENEW_LEASE]) >= 2,
        'both are renewed again and again',
    )
    assert user(engine) == first
    assert bao.requests[LOGIN] == asked_for_users(bao) == 1


@pytest.mark.parametrize(
    ('lease', 'token', 'revoked'),
    [
        ({'ttl': 6, 'max_ttl': 6}, {}, 1),
        # Without the policy `default`, a token may not be looked up. It has ended by itself.
        ({}, {'token_ttl': '6s', 'token_max_ttl': '6s', 'token_no_default_policy': True}, 0),
    ],
    ids=['the lease', 'the token'],
)
def test_connections_go_on_while_logins_end_with(
    started: Start,
    bao: OpenBao,
    monkeypatch: pytest.MonkeyPatch,
    lease: dict[str, int],
    token: dict[str, Any],
    revoked: int,
) -> None:
    # Due after a second: a busy machine has five more for it.
    monkeypatch.setattr(lease_keeper, 'USE_PART', 1 / 6)
    engine = started(**lease, **bao.approle(POLICY, **token))
    seen = []

    def one_has_ended() -> bool:
        seen.append(user(engine))  # never fails
        return bool(set(seen) - bao.users()) and bao.requests[REVOKE_TOKEN] >= revoked

    wait_until(one_has_ended, 'the first login has ended')


@pytest.mark.parametrize('lost', ['user', 'token'])
def test_a_login_that_is_revoked_is_replaced(
    started: Start, bao: OpenBao, postgres: PostgresServer, lost: str
) -> None:
    engine = started(pooled=False, **bao.approle(POLICY))
    first = user(engine)
    if lost == 'token':
        bao.root.auth.token.revoke(database._keeper._logins[-1].client.token)
    else:
        with postgres.connect() as connection:
            connection.execute(f'DROP ROLE "{first}"')

    def works() -> bool:
        try:
            return user(engine) != first
        except DBAPIError:
            return False

    wait_until(works, 'there is another login')
    assert bao.requests[LOGIN] == asked_for_users(bao) == 2


def test_a_database_without_free_connections_does_not_refuse_the_login(
    started: Start, bao: OpenBao, postgres: PostgresServer
) -> None:
    engine = started(pooled=False, **bao.approle(POLICY))
    name = user(engine)
    with postgres.connect() as connection:
        connection.execute(f'ALTER ROLE "{name}" CONNECTION LIMIT 0')
    with pytest.raises(OperationalError, match='too many connections'):
        user(engine)
    assert not database._shared.is_refused


def test_a_database_elsewhere_does_not_get_vaults_login(
    started: Start, bao: OpenBao, postgres: PostgresServer
) -> None:
    engine = started(**bao.approle(POLICY))
    url = engine.url.set(port=postgres.with_a_proxy_of_its_own().port)
    parameters = url.translate_connect_args(database='dbname')
    assert database._connect(engine.dialect, None, [], parameters) is None


def test_connections_of_an_earlier_login_are_given_up_between_two_tasks(
    started: Start, bao: OpenBao
) -> None:
    engine = started(**bao.approle(POLICY))
    url = engine.url.render_as_string()
    backend = f'be_queue.database:DatabaseBackend+{url}'
    app = Celery('guarded', broker='memory://', backend=backend, set_as_current=False)
    app.conf.update(result_extended=True, database_engine_options=engine_options(url))
    guard = Guard(app)

    def guards_user() -> str:
        return str(guard._connected().scalar(text('SELECT session_user')))

    first = user(engine)
    assert guards_user() == first
    refuse_login()
    wait_until(lambda: user(engine) != first, 'the pool of connections has another')
    assert guards_user() == user(engine)
    guard._disconnect()


@pytest.mark.parametrize(
    ('path', 'answer', 'reason'),
    [
        (LOGIN, says(503, b'{"errors": ["Vault is sealed"]}'), 'Vault is sealed'),
        ('creds', says(403, b'{"errors": ["denied"]}'), 'Vault refuses database/creds/{}: denied'),
    ],
)
def test_while_vault_gives_no_login_the_last_goes_on_and_the_log_says_so_once(
    started: Start,
    bao: OpenBao,
    caplog: pytest.LogCaptureFixture,
    path: str,
    answer: Any,
    reason: str,
) -> None:
    engine = started(**bao.approle(POLICY))
    first, role = user(engine), database._config.vault_db_role
    caplog.clear()
    bao.faults[path if path == LOGIN else f'database/creds/{role}'] = answer
    refuse_login()
    wait_until(lambda: bao.requests[LOGIN] >= 4, 'it is tried again')
    assert user(engine) == first
    (outage,) = [line for line in caplog.messages if line.startswith('Vault is ')]
    assert reason.format(role) in outage
    assert 'check VAULT_ADDR, VAULT_DB_ROLE and the settings of the login; ' in outage
    assert 'the login of the result database ends in ' in outage
    bao.faults.clear()
    wait_until(lambda: user(engine) != first, 'there is another login')
    wait_until(lambda: 'Vault is back' in caplog.text, 'it is back')
    # A failed attempt leaves no token behind.
    if path != LOGIN:
        assert bao.requests[LOGIN] - bao.requests[REVOKE_TOKEN] <= 2


def test_a_login_is_asked_for_ever_more_seldom_while_the_database_refuses_each(
    started: Start, read: Read, bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, shared = bao.database_role('refused'), SharedLogin()
    keeper = LeaseKeeper(read(vault_db_role=role, **bao.approle(POLICY)), shared)
    monkeypatch.setattr(lease_keeper, 'REFUSED_SECONDS', (0, 3600))
    assert keeper._step() > 1
    for asked in (2, 2):
        shared.refuse(shared.read())
        keeper._step()
        assert asked_for_users(bao) == asked
    # One that lasts until it is due makes the next wait short again.
    shared.write('another', 'password')
    keeper._logins[-1].lease.got_at -= 3000
    keeper._step()
    assert keeper._refusals == 0
    for one in keeper._logins:
        one.client.logout(revoke_token=True)


@pytest.mark.parametrize('kind', ['service', 'batch', 'given'])
def test_at_the_end_every_login_is_revoked(started: Start, bao: OpenBao, kind: str) -> None:
    before, is_given = bao.users(), kind == 'given'
    given = {'vault_token': bao.token(POLICY)} if is_given else bao.approle(POLICY, token_type=kind)
    engine = started(**given)
    first = user(engine)
    refuse_login()
    wait_until(lambda: user(engine) != first, 'there are two logins')
    assert len(bao.users() - before) == 2
    vault.stop()
    wait_until(lambda: bao.users() <= before, 'both are gone')
    if is_given:
        assert bao.root.auth.token.lookup(given['vault_token'])


@pytest.mark.timeout(30)  # seconds: fewer than VAULT_TIMEOUT here
def test_the_end_does_not_wait_for_a_vault_that_hangs(
    started: Start,
    bao: OpenBao,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_keeper, 'STOP_SECONDS', 0.5)
    caplog.set_level('INFO')
    started(vault_timeout=60, **bao.approle(POLICY))
    bao.fail(no_answer)
    vault.stop()
    assert 'end by themselves' in caplog.text


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (
            {'result_db_host': 'database', 'result_db_pass': 'hush'},
            'RESULT_DB_PASS would give another: unset one or the other',
        ),
        ({'result_db_host': None}, 'VAULT_DB_ROLE=worker: set RESULT_DB_HOST'),
    ],
)
def test_a_login_from_elsewhere_as_well_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        vault_backend(Config(vault_db_role='worker', **settings), None)
    assert words in str(caught.value)
    assert 'hush' not in str(caught.value)


@pytest.mark.parametrize(
    ('policy', 'words'),
    [
        ('', 'path "database/creds/nobody" { capabilities = ["read"] }'),
        (POLICY, 'nobody: Vault refuses database/creds/nobody: unknown role: nobody'),
    ],
)
def test_a_role_that_gives_no_login_stops_the_start(
    read: Read, bao: OpenBao, policy: str, words: str
) -> None:
    with pytest.raises(SettingError) as caught:
        vault.check(read(vault_db_role='nobody', **bao.approle(policy)))
    (line,) = str(caught.value).splitlines()
    assert line.startswith('VAULT_DB_ROLE=nobody: ')
    assert words in line


def test_the_login_that_the_start_tries_is_revoked(read: Read, bao: OpenBao) -> None:
    before = bao.users()
    role = bao.database_role('tried')
    vault.check(read(vault_db_role=role, **bao.approle(POLICY, token_type='batch')))
    assert asked_for_users(bao) == 1
    wait_until(lambda: bao.users() <= before, 'it is gone')


def test_a_database_that_is_unavailable_does_not_stop_the_start(
    read: Read, bao: OpenBao, caplog: pytest.LogCaptureFixture
) -> None:
    config: Config = read(vault_db_role=bao.database_role('cut'), **bao.approle(POLICY))
    bao.postgres.proxy.cut()
    try:
        vault.check(config)
    finally:
        bao.postgres.proxy.restore()
    assert 'VAULT_DB_ROLE=cut: Vault gives no login yet: ' in caplog.text
