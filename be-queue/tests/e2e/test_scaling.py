"""A real server has as many connections and as large a scrape as docs/scaling.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from be_queue.testing.postgres import PostgresServer, running_postgres
from tests.support.worker import ROOT, Site

PAGE = (ROOT / 'docs' / 'scaling.md').read_text()
CHILDREN = 3
#: As the page counts them: of the web server, and of the monitor.
WEB, MONITOR = 5, 1


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A database without the connections of other tests."""
    with running_postgres() as server:
        yield server


def test_the_connections_of_a_server_and_the_size_of_its_scrape(
    site: Site, postgres: PostgresServer
) -> None:
    app = site.producer()
    # The monitor runs beside it. There is no schedule, so no scheduler.
    with site.server(CELERY_WORKER_CONCURRENCY=CHILDREN, IDEMPOTENCY_GUARD='true') as server:
        results = [app.send_task('add', (1, 2)) for _ in range(20 * CHILDREN)]
        assert [result.get(timeout=60) for result in results] == [3] * len(results)
        with ThreadPoolExecutor(12) as pool:
            pages = ['/', '/tasks', '/readyz'] * 20
            assert {status for status, _ in pool.map(server.get, pages)} == {200}
        with postgres.connect() as connection:
            found = connection.execute(
                'SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()'
                ' AND pid <> pg_backend_pid()'
            ).fetchone()
            for statement in re.findall(r'^```sql\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL):
                for line in statement.splitlines():
                    assert connection.execute(line).fetchall()
        scrape = server.get('/metrics')[1].splitlines()
    assert found is not None
    assert 2 * CHILDREN <= found[0] <= 2 * CHILDREN + WEB + MONITOR

    queue = site.queue('add')
    of_queue = [line for line in scrape if f'queue="{queue}"' in line]
    of_none = [line for line in scrape if 'queue="' not in line]
    assert 90 <= len(of_queue) <= 130
    assert 180 <= len(of_none) <= 260


def test_the_metrics_that_the_page_names_exist() -> None:
    known = (ROOT / 'docs' / 'metrics.md').read_text()
    named = re.findall(r'`(\{prefix\}_\w+)', PAGE)
    assert named
    assert [name for name in named if f'`{name}`' not in known] == []
