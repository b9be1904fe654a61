"""A database that is unavailable costs neither the worker nor a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending
from tests.support.worker import Site


@pytest.fixture
def database(postgres: PostgresServer) -> PostgresServer:
    """The database by a way of our own, which can be cut."""
    return postgres.with_a_proxy_of_its_own()


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, database: PostgresServer) -> Site:
    """A worker whose way to the database can be cut."""
    return Site(tmp_path, sqs.url, database.environment)


def stored(postgres: PostgresServer, task_ids: list[str]) -> dict[str, str]:
    with postgres.connect() as connection:
        # The first result makes the table.
        if connection.execute("SELECT to_regclass('celery_taskmeta')").fetchone() == (None,):
            return {}
        rows = connection.execute(
            'SELECT task_id, status FROM celery_taskmeta WHERE task_id = ANY(%s)', [task_ids]
        )
        return dict(rows.fetchall())


class Running:
    """A task that runs until it is told to end."""

    def __init__(self, site: Site, folder: Path, **limits: float) -> None:
        self._end = folder / 'end'
        arguments = (str(folder / 'marks'), str(self._end))
        self.result: Any = site.producer().send_task(ending.BESIDE, arguments, **limits)
        wait_until((folder / 'marks').exists, 'the task runs')

    def end(self) -> None:
        self._end.touch()


def test_results_are_stored_once_the_database_is_back(
    site: Site, database: PostgresServer, postgres: PostgresServer, sqs: SqsServer, tmp_path: Path
) -> None:
    with site.server(**ending.IMPORTS) as server:
        producer = site.producer()
        assert producer.send_task('add', (1, 1)).get(timeout=30) == 2
        pool = server.pool_pids()
        running = Running(site, tmp_path)
        database.proxy.cut()
        running.end()
        ids = [running.result.id] + [producer.send_task('add', (n, n)).id for n in range(10)]

        wait_until(lambda: 'is unavailable' in server.log, 'the log says so')
        # An answer is used again for a second.
        wait_until(lambda: server.health('/readyz')[0] == 503, 'not ready without the database')
        checks = server.health('/readyz')[1]
        assert checks['results'] != 'ok'
        assert checks['worker'] == 'ok'
        assert server.health('/healthz')[0] == 200
        assert stored(postgres, ids) == {running.result.id: 'STARTED'}

        database.proxy.restore()
        wait_until(
            lambda: stored(postgres, ids) == dict.fromkeys(ids, 'SUCCESS'),
            'every result is stored',
        )
        assert server.pool_pids() == pool
        server.wait_ready()
        for name in (site.queue('add'), f'{site.username}-local-celery'):
            wait_until(
                lambda name=name: sqs.in_flight(name) == sqs.visible(name) == 0,
                'every message is deleted',
            )


def test_a_worker_that_starts_without_the_database_says_so_and_waits_for_it(
    site: Site, database: PostgresServer, postgres: PostgresServer
) -> None:
    database.proxy.cut()
    with site.server(wait=False) as server:

        def checks() -> dict[str, str]:
            return server.health('/readyz')[1]

        wait_until(lambda: 'Connection refused' in checks().get('results', ''), 'the cause')
        assert server.log.count('Connection refused') == 1
        wait_until(lambda: checks().get('worker') == 'ok', 'the worker consumes')
        result = site.producer().send_task('add', (2, 3))
        wait_until(lambda: 'task_name=add' in server.log, 'the task waits for the database')
        database.proxy.restore()
        wait_until(
            lambda: stored(postgres, [result.id]) == {result.id: 'SUCCESS'}, 'its result is stored'
        )
        server.wait_ready()
        wait_until(lambda: 'is back' in server.log, 'the log says that it is over')


def test_a_success_is_not_turned_into_a_time_out_by_waiting_for_the_database(
    site: Site, database: PostgresServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    with site.worker(**ending.IMPORTS) as server:
        task = Running(site, tmp_path, time_limit=60, soft_time_limit=3)
        result = task.result
        database.proxy.cut()
        task.end()
        wait_until(lambda: 'Soft time limit' in server.log, 'the soft limit is over')
        database.proxy.restore()
        wait_until(
            lambda: stored(postgres, [result.id]) != {result.id: 'STARTED'}, 'the end is stored'
        )
        assert stored(postgres, [result.id]) == {result.id: 'SUCCESS'}


def test_a_task_that_waits_up_to_its_time_limit_for_the_database_runs_again(
    site: Site, database: PostgresServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    options = {'wait_time_seconds': 1}
    with site.worker(CELERY_BROKER_TRANSPORT_OPTIONS=options, **ending.IMPORTS) as worker:
        task = Running(site, tmp_path, time_limit=4)
        result = task.result
        database.proxy.cut()
        task.end()
        wait_until(lambda: 'goes back to its queue' in worker.log, 'the message is handed back')
        database.proxy.restore()
        wait_until(
            lambda: stored(postgres, [result.id]) == {result.id: 'SUCCESS'},
            'the task has run again, and its result is stored',
        )
        assert 'Hard time limit' not in worker.log


def test_a_database_that_refuses_results_loses_none_and_the_log_names_the_rights(
    site: Site, postgres: PostgresServer
) -> None:
    user = f'u{site.username}'
    producer = site.producer()
    producer.backend.connect().close()  # makes the tables
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{postgres.password}'")
        with site.worker(RESULT_DB_USER=user) as worker:
            result = producer.send_task('add', (1, 1))
            wait_until(lambda: 'task_name=add' in worker.log, 'the task waits for the database')
            line = next(line for line in worker.log.splitlines() if 'task_name=add' in line)
            assert 'permission denied for' in line
            assert 'check the rights of RESULT_DB_USER' in line
            for kind in ('TABLES', 'SEQUENCES'):
                connection.execute(f'GRANT ALL ON ALL {kind} IN SCHEMA public TO {user}')
            assert result.get(timeout=60) == 2
