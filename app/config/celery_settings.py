"""Celery's settings of this process."""

from app.config.configuration import WorkerConfig, load_config
from app.config.queues import QUEUES

__all__ = ['worker_config']

worker_config = WorkerConfig(load_config(), QUEUES)
