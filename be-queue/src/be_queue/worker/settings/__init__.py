"""The worker's settings, and Celery's."""

from be_queue.worker.settings.reading import ConfigError, current, forget, use
from be_queue.worker.settings.settings import Settings
from be_queue.worker.settings.worker_config import WorkerConfig

__all__ = ['ConfigError', 'Settings', 'WorkerConfig', 'current', 'forget', 'use']
