"""The history of tasks, as the monitor and workers write it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from celery import Celery, states
from sqlalchemy import NullPool

from be_queue import Config
from be_queue.worker.history import engine_of, migrate, save
from be_queue.worker.history.tables import TASKS

__all__ = ['Results']


class Results:
    """Writes what the monitor and a worker would write."""

    def __init__(self, backend_url: str) -> None:
        app = Celery(set_as_current=False)
        app.config_from_object(Config(['unused'], result_backend=backend_url))
        app.conf.database_engine_options = {'poolclass': NullPool}
        migrate(app)
        self._engine = engine_of(app)
        self._backend = app.backend

    def sent(self, name: str = 'add', **values: Any) -> str:
        task_id = uuid.uuid4().hex
        # Later than any row that another test has left.
        now = datetime.now(timezone.utc) + timedelta(days=1)
        row = {'task_id': task_id, 'name': name, 'retries': 0, 'sent_at': now, 'seen_at': now}
        save(self._engine, [row | values])
        return task_id

    def sent_many(self, count: int) -> None:
        """Write tasks ``task0`` to ``task9``, one a second."""
        now = datetime.now(timezone.utc)
        rows = [
            {
                'task_id': uuid.uuid4().hex,
                'name': f'task{n % 10}',
                'retries': 0,
                'sent_at': now - timedelta(seconds=n),
                'seen_at': now,
            }
            for n in range(count)
        ]
        save(self._engine, rows)

    def clear(self) -> None:
        """Delete all."""
        with self._engine.begin() as connection:
            connection.execute(TASKS.delete())

    def stored(
        self,
        result: Any,
        state: str = states.SUCCESS,
        task_id: str = '',
        traceback: str | None = None,
        **sent: Any,
    ) -> str:
        task_id = task_id or self.sent(**sent)
        self._backend.store_result(task_id, result, state, traceback)
        return task_id
