"""Secrets from Vault, on the whole tree of processes: with a real Vault and a real PostgreSQL."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import pytest
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.processes import children, kill
from be_queue.testing.waiting import wait_until
from tests.support.faulty_service import says
from tests.support.openbao import OpenBao
from tests.support.worker import Site

#: Nobody listens there, and nobody has to.
DSN = 'http://hushkey@127.0.0.1:9/1'
#: Nothing but Vault knows the users of the database.
NO_LOGIN = {'RESULT_DB_USER': '', 'RESULT_DB_PASS': ''}
#: Seconds that a user of the database lasts.
TTL = 6


@pytest.fixture
def variables(bao: OpenBao) -> dict[str, str]:
    bao.root.secrets.kv.v2.create_or_update_secret('worker/sentry', {'dsn': DSN})
    login = bao.approle('secret/data/worker/* database/creds/short')
    bao.database_role('short', TTL, TTL)
    return {
        'VAULT_ADDR': bao.url,
        'VAULT_DB_ROLE': 'short',
        'VAULT_SECRETS': 'SENTRY_DSN=worker/sentry#dsn',
        **{name.upper(): value for name, value in login.items()},
        **NO_LOGIN,
    }


def environ(pid: int) -> str:
    with suppress(OSError):
        return Path(f'/proc/{pid}/environ').read_bytes().decode()
    return ''


def test_results_are_stored_while_logins_rotate_and_after_an_outage_of_vault(
    site: Site, bao: OpenBao, postgres: PostgresServer, variables: dict[str, str]
) -> None:
    def stored() -> int:
        with postgres.connect() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS' "
                'AND task_id = ANY(%s)',
                [ids],
            ).fetchone() or (0,)
        return int(count)

    def send() -> AsyncResult:
        result = producer.send_task('add', (1, 1))
        ids.append(result.id)
        return result

    def rotated() -> bool:
        # The next task follows the result of this one.
        send().get(timeout=60)
        seen.update(bao.users() - before)
        # That of the start, and the first of three processes.
        return len(seen - bao.users()) >= 1 + 3

    def replaced() -> bool:
        send().get(timeout=60)
        return not pool & set(server.pool_pids())

    def said(words: str) -> int:
        return server.log.count(words)

    before, seen, ids = bao.users(), set[str](), list[str]()
    bao.given.clear()
    more = {
        'CELERY_WORKER_MAX_TASKS_PER_CHILD': 5,
        'IDEMPOTENCY_GUARD': 'true',
        'LOG_LEVEL': 'DEBUG',
    }
    with site.server(**variables, **more) as server:
        producer, pool = site.producer(), set(server.pool_pids())
        wait_until(rotated, 'the first login of each process has ended', 120)
        wait_until(replaced, 'the pool is another')
        wait_until(lambda: stored() == len(ids), 'every result is stored')
        assert said('Vault is unavailable') == 0
        server.wait_ready()

        bao.fail(says(503, b'{"errors": ["Vault is sealed"]}'))
        wait_until(lambda: said('Vault is unavailable') == 3, 'each process says so')
        (web,) = children(server.pid_of('gunicorn'))
        kill(web)
        # The settings are known: they are not asked for again.
        wait_until(lambda: server.get('/healthz')[0] == 200, 'there is another web process')
        wait_until(lambda: not bao.users() - before, 'the logins have ended')
        done = stored()
        for _ in range(4):
            send()
        wait_until(lambda: 'the result database is unavailable' in server.log, 'results wait')
        assert stored() == done

        bao.repair()
        wait_until(lambda: stored() == len(ids), 'every result is stored')
        server.wait_ready()
        pages = {path: server.get(path)[1] for path in ('/healthz', '/readyz', '/metrics', '/')}
        environments = {str(pid): environ(pid) for pid in server.processes()}
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        pages['log'] = server.log
    wait_until(lambda: not bao.users() - before, 'no user of the database is left')
    assert 'Traceback' not in pages['log']
    hidden = [*bao.given, 'hushkey']
    assert len(hidden) > 10
    places = (pages | environments).items()
    assert [place for place, text in places if any(word in text for word in hidden)] == []
    # It was given in the environment, and stays there.
    secret_id = variables['VAULT_SECRET_ID']
    assert [place for place, text in pages.items() if secret_id in text] == []
    assert all(secret_id in text for text in environments.values() if text)


def test_a_role_that_vault_does_not_have_stops_the_start_in_one_line(
    site: Site, variables: dict[str, str]
) -> None:
    with site.server(wait=False, **(variables | {'VAULT_DB_ROLE': 'other'})) as server:
        assert server.wait_ended() == 1
        (line,) = server.log.splitlines()
    assert 'cannot start: VAULT_DB_ROLE=other: Vault refuses database/creds/other: ' in line
