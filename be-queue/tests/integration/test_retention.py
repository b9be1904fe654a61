"""Old tasks and results are deleted from the database."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from be_queue.testing.postgres import PostgresServer
from be_queue.worker.history import engine_of, migrate, save
from be_queue.worker.history.retention import prune
from be_queue.worker.history.tables import TASKS
from tests.integration.test_migrations import app_of, empty_database


@pytest.mark.parametrize('database', ['postgresql', 'sqlite'])
def test_old_tasks_and_results_are_pruned_in_batches_and_one_that_waits_for_its_eta_stays(
    postgres: PostgresServer, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('be_queue.worker.history.retention.PRUNED_AT_ONCE', 3)
    monkeypatch.setattr('be_queue.database.DELETED_AT_ONCE', 3)
    with empty_database(postgres) as url:
        app = app_of(url if database == 'postgresql' else f'db+sqlite:///{tmp_path}/db')
        migrate(app)
        engine, now = engine_of(app), datetime.now(timezone.utc)
        old, day = now - timedelta(days=3), timedelta(days=1)

        def row(task_id: str, **values: Any) -> dict[str, Any]:
            row = {'task_id': task_id, 'name': 'add', 'retries': 0, 'sent_at': old, 'seen_at': old}
            return dict.fromkeys(TASKS.c.keys()) | row | values

        kept = [row('waits', eta=now + day), row('retried', seen_at=now), row('new', sent_at=now)]
        save(engine, [*(row(f'{n}') for n in range(4)), row('was due', eta=old), *kept])
        assert [prune(engine, day) for _ in range(3)] == [3, 2, 0]
        with engine.connect() as connection:
            left = connection.scalars(select(TASKS.c.task_id)).all()
        assert set(left) == {'waits', 'retried', 'new'}

        for n in range(8):
            app.backend.store_result(f'{n}', n, 'SUCCESS')
        with engine.begin() as connection:
            aged = f"UPDATE celery_taskmeta SET date_done = '{old:%Y-%m-%d}' WHERE task_id < '7'"
            connection.execute(text(aged))
        app.backend.cleanup()
        with engine.connect() as connection:
            assert connection.scalars(text('SELECT task_id FROM celery_taskmeta')).all() == ['7']
