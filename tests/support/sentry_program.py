"""Processes that report to Sentry: ``python -m tests.support.sentry_program WHAT``."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject

from app.config.configuration import load_config
from app.utils import logs, processes
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


class Backend(DisabledBackend):
    """Stores no failure of the task ``again``."""

    def mark_as_failure(self, task_id: str, *args: Any, **kwargs: Any) -> None:
        if task_id == 'again':
            raise Reject('the result database is away', requeue=True)


def start_pool(*functions: Callable[..., Any]) -> Celery:
    """Return an app with these tasks, in a pool process."""
    app = Celery(broker='memory://')
    app.backend_cls = Backend
    for function in functions:
        app.task(name=function.__name__)(function)
    app.finalize()
    processes.start(Role.CONSUMER)
    # As Celery does in a pool process, before it says that the process has started.
    for task in app.tasks.values():
        task.__trace__ = trace.build_tracer(task.name, task, app.loader, 'host', app=app)
    processes.start(Role.POOL)
    return app


def run(app: Celery, name: str, task_id: str, *args: Any, **request: Any) -> None:
    """Run a task as a pool process does."""
    given = {'id': task_id, 'delivery_info': {'routing_key': 'a-queue'}, 'retries': 0}
    try:
        app.tasks[name].__trace__(task_id, args, {}, given | request)
    except Reject:
        logger.warning('it goes back to its queue')


def pool() -> None:
    """Run a task whose failure cannot be stored, so that it will run again; and one that fails."""

    def fails() -> None:
        logger.error('a line of the task', exc_info=True)
        raise RuntimeError('on purpose')

    def ends_its_retries(argument: str) -> None:
        app.tasks['ends_its_retries'].max_retries = 0
        raise app.tasks['ends_its_retries'].retry()

    app = start_pool(fails, ends_its_retries)
    run(app, 'fails', 'again')
    run(app, 'fails', 'once')
    run(app, 'ends_its_retries', 'retries', COOKIE)
    processes.stop()


def tasks() -> None:
    """Run tasks that fail in each odd way."""
    error = RuntimeError('always the same')
    logging.getLogger().setLevel(logging.INFO)

    def raises_one_object() -> None:
        raise error

    def raises_much() -> None:
        raise RuntimeError('x' * 1_500_000)

    def raises_half_a_pair() -> None:
        raise RuntimeError(f'half {chr(0xD800)} of a pair')

    def logs_much() -> None:
        for number in range(60):
            logger.info('%d %s', number, 'y' * 60_000)
        raise RuntimeError('on purpose')

    def logs_secrets() -> None:
        nested = {'db_credentials': {'value': COOKIE}, 'headers': {'X-Api-Key': COOKIE}}
        logger.info('it calls', extra=nested)
        raise RuntimeError('on purpose')

    def succeeds(argument: str) -> None: ...

    odd = (raises_much, raises_half_a_pair, logs_much, logs_secrets)
    app = start_pool(raises_one_object, *odd, succeeds)
    for number in range(3):
        run(app, 'raises_one_object', f'one-{number}')
    for function in odd:
        run(app, function.__name__, function.__name__)
    # The next step is no task's: it cannot be sent once the body is over.
    message = {'properties': {'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}}}
    run(app, 'succeeds', 'around', 'hello', retries=2, chain=[{'task': None}], **message)
    processes.stop()


def thread() -> None:
    """Have a thread end with an error."""
    logs.setup(load_config(), 'x')
    processes.start(Role(os.environ['ROLE']))

    def fail() -> None:
        raise RuntimeError('on purpose')

    it = threading.Thread(target=fail)
    it.start()
    it.join()
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
    programs = (web, monitor, consumer, pool, tasks, thread, hang)
    {program.__name__: program for program in programs}[sys.argv[1]]()
