"""The Celery app of this worker: ``celery -A app.worker worker``."""

from be_queue.worker import in_one_line

__all__ = ['app', 'worker_config']

with in_one_line():
    from app.celery_app import app
    from app.config.celery_settings import worker_config
    from app.config.queues import QUEUES
    from app.tasks import tasks  # noqa: F401  (registers them)
    from app.utils import celery_signals, metrics  # noqa: F401  (yours)
    from be_queue.worker import create_worker

    create_worker(app, worker_config, QUEUES)
