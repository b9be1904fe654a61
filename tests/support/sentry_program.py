"""Processes that report to Sentry: ``python -m tests.support.sentry_program WHAT``."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery import Celery
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject

from app.config.configuration import load_config
from app.utils import processes
from app.utils.role import Role

logger = logging.getLogger('tests.program')
COOKIE = 'a-cookie-of-somebody'


def web() -> None:
    """Serve a request that fails, one that is not found, and one that is served."""
    from app.web import create_app

    app = create_app()
    processes.start(Role.WEB)

    @app.get('/broken')
    def broken() -> str:
        raise RuntimeError('on purpose')

    client = app.test_client()
    client.set_cookie('session', COOKIE)
    for path in ('/broken', '/not-found', '/metrics'):
        client.get(path, headers={'Authorization': f'Bearer {COOKIE}'})
    logger.error('an error line alone')
    processes.stop()


def monitor() -> None:
    """End by an exception, as a monitor does that has a fault."""
    processes.start(Role.MONITOR)
    try:
        logger.error('an error line alone')
        raise RuntimeError('on purpose')
    finally:
        processes.stop()


def consumer() -> None:
    """End as Celery's worker does when its event loop has ended by an exception."""
    processes.start(Role.CONSUMER)
    try:
        raise RuntimeError('on purpose')
    except RuntimeError:
        logger.error('a failed task, which its pool process has reported', exc_info=True)
        logger.critical('Unrecoverable error', exc_info=True)
        processes.stop()


def pool() -> None:
    """Run a task whose failure cannot be stored, so that it will run again; and one that fails."""

    class Backend(DisabledBackend):
        def mark_as_failure(self, task_id: str, *args: Any, **kwargs: Any) -> None:
            if task_id == 'again':
                raise Reject('the result database is away', requeue=True)

    app = Celery()
    app.backend_cls = Backend

    @app.task(name='fails')
    def fails() -> None:
        logger.error('a line of the task', exc_info=True)
        raise RuntimeError('on purpose')

    @app.task(name='ends_its_retries', bind=True, max_retries=0)
    def ends_its_retries(self: Any, argument: str) -> None:
        raise self.retry()

    app.finalize()
    processes.start(Role.CONSUMER)
    # As Celery does in a pool process, before it says that the process has started.
    for task in app.tasks.values():
        task.__trace__ = trace.build_tracer(task.name, task, app.loader, 'host', app=app)
    processes.start(Role.POOL)
    info = {'routing_key': 'a-queue'}
    for name, task_id, args in (
        ('fails', 'again', ()),
        ('fails', 'once', ()),
        ('ends_its_retries', 'retries', (COOKIE,)),
    ):
        request = {'id': task_id, 'delivery_info': info, 'retries': 0}
        try:
            app.tasks[name].__trace__(task_id, args, {}, request)
        except Reject:
            logger.warning('it goes back to its queue')
    processes.stop()


def hang() -> None:
    """Report more than can wait, to a server that never answers; say how much waits, and end."""
    import sentry_sdk

    processes.start(Role.POOL)
    for number in range(300):
        sentry_sdk.capture_message(f'message {number}')
    transport: Any = sentry_sdk.get_client().transport
    print('waiting:', transport._worker._queue.qsize())  # noqa: T201
    processes.stop()


if __name__ == '__main__':
    logging.basicConfig()
    load_config()
    os.environ.setdefault('PROMETHEUS_MULTIPROC_DIR', '.')
    {'web': web, 'monitor': monitor, 'consumer': consumer, 'pool': pool, 'hang': hang}[
        sys.argv[1]
    ]()
