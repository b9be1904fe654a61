"""The Celery app of this worker: ``celery -A app.worker worker``."""

from app.start_error import in_one_line

__all__ = ['app', 'worker_config']

with in_one_line():
    from app.celery_app import app
    from app.config.celery_settings import worker_config
    from app.config.queues import QUEUES
    from app.tasks import tasks  # noqa: F401  (registers them)
    from app.utils import (
        celery_signals,
        heartbeat,
        idempotency,
        result_expiry,
        result_store,
        unsupported,
    )
    from app.utils.logs.worker import install as install_logs
    from app.utils.ratelimit.check import check as check_rate_limits

    config = worker_config.APP
    install_logs(config)
    app.finalize()
    QUEUES.check_registered(app.tasks)
    unsupported.check(app)
    check_rate_limits(config, app.conf.broker_transport_options['ratelimits'])

    celery_signals.pool.install(app)
    heartbeat.install(app, config.heartbeat_path)
    result_store.install(app)
    if worker_config.stores_results:
        result_expiry.install(app)
    if config.idempotency_guard:
        idempotency.install(app)
