"""Celery's settings of this process."""

from app.config.configuration import WorkerConfig, load_config
from app.utils import vault  # noqa: F401  (connects to a result database with Vault's login)

__all__ = ['worker_config']

worker_config = WorkerConfig(load_config())
