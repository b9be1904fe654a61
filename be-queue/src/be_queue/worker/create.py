"""Makes a worker of a Celery app whose tasks are registered."""

from __future__ import annotations

from celery import Celery

from be_queue import Queues
from be_queue.worker import (
    celery_signals,
    heartbeat,
    idempotency,
    result_expiry,
    result_store,
    unsupported,
)
from be_queue.worker.logs.worker import install as install_logs
from be_queue.worker.ratelimit.plan import check as check_rate_limits
from be_queue.worker.settings import WorkerConfig

__all__ = ['create_worker']


def create_worker(app: Celery, worker_config: WorkerConfig, queues: Queues) -> None:
    """Give a Celery app the worker's logs, signals, metrics and result store.

    Arguments:
        app: configured from ``worker_config``; every task is registered.
        worker_config: its settings.
        queues: the mapping.

    Raises `be_queue.BeQueueError` when the tasks do not fit the mapping, when a setting asks for
    something that this worker does not support, and when a rate limit cannot be kept.
    """
    config = worker_config.APP
    install_logs(config)
    app.finalize()
    queues.check_registered(app.tasks)
    unsupported.check(app)
    check_rate_limits(config, app.conf.broker_transport_options['ratelimits'])

    celery_signals.install(app)
    heartbeat.install(app, config.heartbeat_path)
    result_store.install(app)
    if worker_config.stores_results:
        result_expiry.install()
    if config.idempotency_guard:
        idempotency.install(app)
