"""The Celery app of this worker: ``celery -A app.worker worker``."""

import pkgutil
from importlib import import_module

from be_queue.worker import in_one_line

__all__ = ['app', 'worker_config']

with in_one_line():
    from app import tasks
    from app.celery_app import app
    from app.config.celery_settings import worker_config
    from app.config.queues import QUEUES
    from app.utils import celery_signals, metrics  # noqa: F401  (yours)
    from be_queue.worker import create_worker

    for module in pkgutil.iter_modules(tasks.__path__, 'app.tasks.'):
        import_module(module.name)  # registers its tasks
    create_worker(app, worker_config, QUEUES)
