"""A database that is unavailable costs neither the worker nor a result."""

from __future__ import annotations

from pathlib import Path

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


def wait_for_states(postgres: PostgresServer, states: dict[str, str]) -> None:
    """Wait until these states are stored, by task id."""

    def stored() -> bool:
        with postgres.connect() as connection:
            # The first result makes the table.
            if connection.execute("SELECT to_regclass('celery_taskmeta')").fetchone() == (None,):
                return False
            rows = connection.execute(
                'SELECT task_id, status FROM celery_taskmeta WHERE task_id = ANY(%s)',
                [list(states)],
            )
            return dict(rows.fetchall()) == states

    wait_until(stored, f'these are stored: {states}')


class Running:
    """A task that runs until it is told to end."""

    def __init__(self, site: Site, folder: Path, **limits: float) -> None:
        folder.mkdir()
        self._marks, self._end = folder / 'marks', folder / 'end'
        arguments = (str(self._marks), str(self._end))
        self.id: str = site.producer().send_task(ending.BESIDE, arguments, **limits).id

    def wait(self) -> None:
        wait_until(self._marks.exists, 'the task runs')

    def end(self) -> None:
        self._end.touch()


def test_a_server_outlasts_outages_also_at_its_start_and_stores_every_result(
    site: Site, database: PostgresServer, postgres: PostgresServer, sqs: SqsServer, tmp_path: Path
) -> None:
    database.proxy.cut()
    with site.server(wait=False, **ending.IMPORTS) as server:
        producer = site.producer()

        def checks() -> dict[str, str]:
            return server.health('/readyz')[1]

        wait_until(lambda: 'Connection refused' in checks().get('results', ''), 'the cause')
        wait_until(lambda: server.log.count('Connection refused') > 1, 'the monitor waits too')
        assert server.log.count('Connection refused') == 2
        wait_until(lambda: checks().get('worker') == 'ok', 'the worker consumes')
        first = producer.send_task('add', (2, 3)).id
        wait_until(lambda: 'task_name=add' in server.log, 'the task waits for the database')
        database.proxy.restore()
        wait_for_states(postgres, {first: 'SUCCESS'})
        server.wait_ready()
        wait_until(lambda: 'is back' in server.log, 'the log says that it is over')

        pool = server.pool_pids()
        running = Running(site, tmp_path / 'task')
        running.wait()
        lines = len(server.log.splitlines())
        database.proxy.cut()
        running.end()
        ids = [running.id] + [producer.send_task('add', (n, n)).id for n in range(10)]
        wait_until(
            lambda: any('is unavailable' in line for line in server.log.splitlines()[lines:]),
            'the log says so',
        )
        # An answer is used again for a second.
        wait_until(lambda: server.health('/readyz')[0] == 503, 'not ready without the database')
        assert checks()['results'] != 'ok'
        assert checks()['worker'] == 'ok'
        assert server.health('/healthz')[0] == 200
        wait_for_states(postgres, {running.id: 'STARTED'})

        database.proxy.restore()
        wait_for_states(postgres, dict.fromkeys(ids, 'SUCCESS'))
        assert server.pool_pids() == pool
        server.wait_ready()
        for name in (site.queue('add'), f'{site.username}-local-celery'):
            wait_until(
                lambda name=name: sqs.in_flight(name) == sqs.visible(name) == 0,
                'every message is deleted',
            )


def test_waiting_for_the_database_fails_no_task_at_its_soft_or_hard_time_limit(
    site: Site, database: PostgresServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    options = {'wait_time_seconds': 1}
    with site.worker(CELERY_BROKER_TRANSPORT_OPTIONS=options, **ending.IMPORTS) as worker:
        # A busy machine needs some of these seconds to begin the other task.
        soft = Running(site, tmp_path / 'soft', time_limit=60, soft_time_limit=5)
        hard = Running(site, tmp_path / 'hard', time_limit=6)
        soft.wait()
        hard.wait()
        database.proxy.cut()
        soft.end()
        hard.end()
        wait_until(lambda: 'Soft time limit' in worker.log, 'the soft limit of one is over')
        wait_until(lambda: 'goes back to its queue' in worker.log, 'the other is handed back')
        database.proxy.restore()
        # The second has run again.
        wait_for_states(postgres, {soft.id: 'SUCCESS', hard.id: 'SUCCESS'})
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
            assert 'where permission is denied, the rights of RESULT_DB_USER: ' in line
            for kind in ('TABLES', 'SEQUENCES'):
                connection.execute(f'GRANT ALL ON ALL {kind} IN SCHEMA public TO {user}')
            assert result.get(timeout=60) == 2
