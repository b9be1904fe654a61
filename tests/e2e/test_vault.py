"""Secrets from Vault, on the whole tree of processes: over HTTP, with a real PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.tree import children, kill
from tests.support.vault import Vault
from tests.support.vault_database import Database
from tests.support.vault_server import running_vault
from tests.support.waiting import wait_until
from tests.support.worker import Site

SECRET_ID = 'hush-secret-id'
#: Nobody listens there, and nobody has to.
DSN = 'http://hushkey@127.0.0.1:9/1'
SECRETS = {'VAULT_SECRETS': 'SENTRY_DSN=worker/sentry#dsn'}
#: Nothing but Vault knows the users of the database.
NO_LOGIN = {'RESULT_DB_USER': '', 'RESULT_DB_PASS': ''}


@pytest.fixture
def vault(postgres: PostgresServer) -> Iterator[Vault]:
    with running_vault(
        database=Database(postgres),
        kv={'secret/worker/sentry': {'dsn': DSN}},
        logins={'approle': lambda body: body == {'role_id': 'r', 'secret_id': SECRET_ID}},
    ) as server:
        yield server


def variables(vault: Vault) -> dict[str, str]:
    return {
        'VAULT_ADDR': vault.url,
        'VAULT_ROLE_ID': 'r',
        'VAULT_SECRET_ID': SECRET_ID,
        'VAULT_DB_ROLE': 'worker',
        **NO_LOGIN,
    }


def stored(postgres: PostgresServer, task_ids: list[str]) -> int:
    """Return how many of the tasks have stored a success."""
    with postgres.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS' AND task_id = ANY(%s)",
            [task_ids],
        ).fetchone()
    return row[0] if row else 0


def test_results_are_stored_while_logins_come_and_go_and_no_secret_is_seen(
    site: Site, vault: Vault, postgres: PostgresServer
) -> None:
    vault.lease_ttl = vault.lease_max_ttl = 6
    assert vault.database is not None
    more = {
        'CELERY_WORKER_MAX_TASKS_PER_CHILD': 20,
        'IDEMPOTENCY_GUARD': 'true',
        'LOG_LEVEL': 'DEBUG',
        **SECRETS,
    }
    with site.server(**variables(vault), **more) as server:
        producer = site.producer()
        first = set(server.pool_pids())
        ids: list[str] = []

        def rotated() -> bool:
            ids.append(producer.send_task('add', (1, 1)).id)
            assert server.get('/readyz')[0] == 200, server.get('/readyz')
            # That of the start, and those of three processes before their second change.
            return len(vault.database.dropped) >= 1 + 3 * 2

        wait_until(rotated, 'the logins of each process have changed twice', 60)
        wait_until(lambda: stored(postgres, ids) == len(ids), 'every result is stored')
        assert not first & set(server.pool_pids())
        assert 'is away' not in server.log
        pages = {path: server.get(path)[1] for path in ('/healthz', '/readyz', '/metrics', '/')}
        environments = {str(pid): environ(pid) for pid in server.processes()}
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        assert 'Traceback' not in server.log
        pages['log'] = server.log
    assert sorted(vault.database.dropped) == sorted(vault.database.made)
    assert vault.tokens == {}
    hidden = [*vault.given, 'hushkey']
    places = (pages | environments).items()
    assert [place for place, text in places if any(word in text for word in hidden)] == []
    # It was given in the environment, and stays there.
    assert [place for place, text in pages.items() if SECRET_ID in text] == []
    assert all(SECRET_ID in text for text in environments.values() if text)


def test_a_vault_that_is_away_disturbs_nothing_until_the_login_ends(
    site: Site, vault: Vault, postgres: PostgresServer
) -> None:
    # Seconds, and so it is asked again soon.
    vault.token_ttl = 2
    with site.server(VAULT_TIMEOUT=1, **variables(vault), **SECRETS) as server:
        producer = site.producer()
        worker = server.pid_of('celery')
        vault.hangs = True
        wait_until(lambda: server.log.count('Vault is away') == 3, 'each process says so')
        ids = [producer.send_task('add', (n, 1)).id for n in range(10)]
        wait_until(lambda: stored(postgres, ids) == 10, 'results are stored')
        assert server.get('/healthz')[0] == server.get('/readyz')[0] == 200

        gunicorn = server.pid_of('gunicorn')
        (web,) = children(gunicorn)
        kill(web)
        # The settings are known: they are not asked for again.
        wait_until(lambda: server.get('/healthz')[0] == 200, 'there is another web process')
        assert children(gunicorn) != [web]
        wait_until(lambda: server.log.count('Vault is away') == 4, 'it says so as well')

        for lease in list(vault.leases):
            vault.end_lease(lease)
        late = [producer.send_task('add', (n, 1)).id for n in range(4)]
        wait_until(lambda: 'the result database is away' in server.log, 'results wait')
        assert server.get('/healthz')[0] == 200
        assert stored(postgres, late) == 0

        vault.hangs = False
        wait_until(lambda: stored(postgres, late) == 4, 'results are stored')
        server.wait_ready()
        wait_until(lambda: server.log.count('Vault is back') == 3, 'each process says so')
        assert server.log.count('Vault is away') == 4
        assert server.pid_of('celery') == worker


def environ(pid: int) -> str:
    with suppress(OSError):
        return Path(f'/proc/{pid}/environ').read_bytes().decode()
    return ''


def test_what_is_wrong_stops_the_start(site: Site, vault: Vault) -> None:
    for more, prepare, words in (
        ({'VAULT_ADDR': f'http://127.0.0.1:{free_port()}'}, {}, 'no connection: Connection ref'),
        ({'VAULT_TIMEOUT': '0.5'}, {'hangs': True}, 'no answer within 0.5 s'),
        ({}, {'denied': {'database/creds/worker'}}, 'VAULT_DB_ROLE=worker: Vault refuses to'),
        ({}, {'kv': {}}, 'VAULT_SECRETS=SENTRY_DSN=worker/sentry#dsn: there is nothing at'),
    ):
        before = {name: getattr(vault, name) for name in prepare}
        for name, value in prepare.items():
            setattr(vault, name, value)
        with site.server(wait=False, **{**variables(vault), **SECRETS, **more}) as server:
            assert server.wait_ended() == 1
            lines = [line for line in server.log.splitlines() if 'cannot start' in line]
            assert len(lines) == 1, server.log
            assert words in lines[0]
            assert 'hush' not in server.log
            assert 'Traceback' not in server.log
        for name, value in before.items():
            setattr(vault, name, value)
