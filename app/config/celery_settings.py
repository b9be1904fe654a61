"""Celery's settings of this process."""

from app.config.configuration import WorkerConfig, load_config
from app.utils.vault import database

__all__ = ['worker_config']

worker_config = WorkerConfig(load_config())
if worker_config.APP.vault_db_role:
    database.listen()
