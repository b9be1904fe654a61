"""Makes and changes the tables of the history, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from celery import Celery
from sqlalchemy import Connection, text

from be_queue.worker.history.database import transaction

__all__ = ['migrate']

#: The advisory lock of a migration: two processes that start together migrate in turn.
LOCK = 7_316_204_011


def migrate(app: Celery) -> None:
    """Bring the schema of an app's result database up to date; make it when it is missing.

    Raises `SettingError` for a backend that keeps no history, and what SQLAlchemy raises.
    """
    with transaction(app) as connection:
        if connection.dialect.name == 'postgresql':
            connection.execute(text(f'SELECT pg_advisory_xact_lock({LOCK})'))
        command.upgrade(_config(app, connection), 'head')


def _config(app: Celery, connection: Connection) -> Config:
    config = Config()
    config.set_main_option('script_location', str(Path(__file__).parent / 'migrations'))
    config.attributes.update(app=app, connection=connection)
    return config
