"""Processes that report to Sentry: ``python -m tests.support.sentry_program PROGRAM``."""

from __future__ import annotations

import logging
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
#: Of a request, a log line and RESULT_DB_PASS.
SECRET = 'a-cookie-of-somebody'
#: Of a task.
ARGUMENT = 'an-argument-of-a-task'


def web() -> None:
    """Serve a request that fails, one that is not found, and one that is served."""
    from app.web import create_app

    app = create_app()
    processes.start(Role.WEB)

    @app.get('/broken')
    def broken() -> str:
        raise RuntimeError('on purpose')

    client = app.test_client()
    client.set_cookie('session', SECRET)
    for path in ('/broken', '/not-found', '/metrics'):
        client.get(path, headers={'Authorization': f'Bearer {SECRET}'})
    logger.error('an error line alone')
    fail_in_a_thread()
    processes.stop()


def monitor() -> None:
    """End by an exception, as a monitor does that has a fault."""
    processes.start(Role.MONITOR)
    logger.error('an error line alone')
    fail_in_a_thread()
    try:
        raise RuntimeError('on purpose')
    except RuntimeError:
        processes.stop()


def consumer() -> None:
    """End as Celery's worker does when its event loop has ended by an exception."""
    processes.start(Role.CONSUMER)
    fail_in_a_thread()
    try:
        raise RuntimeError('on purpose')
    except RuntimeError:
        logger.error('a failed task, which its pool process has reported', exc_info=True)
        logger.critical('Unrecoverable error', exc_info=True)
        processes.stop()


def fail_in_a_thread() -> None:
    def fail() -> None:
        raise RuntimeError('in a thread')

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


class Backend(DisabledBackend):
    """Stores no failure of the task ``unstored``."""

    def mark_as_failure(self, task_id: str, *args: Any, **kwargs: Any) -> None:
        if task_id == 'unstored':
            raise Reject('the result database is unavailable', requeue=True)


class Pool:
    """A pool process with these tasks."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self.app = app = Celery(broker='memory://')
        app.backend_cls = Backend
        for function in functions:
            app.task(name=function.__name__)(function)
        app.finalize()
        # As Celery does in a pool process, before it says that the process has started.
        for task in app.tasks.values():
            task.__trace__ = trace.build_tracer(task.name, task, app.loader, 'host', app=app)
        processes.start(Role.POOL)

    def run(self, name: str, *args: Any, task_id: str = '', **request: Any) -> None:
        """Run a task; its id is its name unless another is given."""
        task_id = task_id or name
        given = {'id': task_id, 'delivery_info': {'routing_key': 'a-queue'}, 'retries': 0}
        try:
            self.app.tasks[name].__trace__(task_id, args, {}, given | request)
        except Reject:
            logger.warning('it goes back to its queue')


def pool() -> None:
    """Run tasks that fail in each odd way."""
    error = RuntimeError('always the same')
    logging.getLogger().setLevel(logging.INFO)

    def fails() -> None:
        logger.error('a line of the task', exc_info=True)
        raise RuntimeError('on purpose')

    def ends_its_retries(argument: str) -> None:
        task = it.app.tasks['ends_its_retries']
        task.max_retries = 0
        raise task.retry()

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
        nested = {'db_credentials': {'value': 'hush'}, 'headers': {'X-Api-Key': 'hush'}}
        logger.info('it calls', extra=nested)
        raise RuntimeError(f'refused {SECRET}')

    def succeeds(argument: str) -> None: ...

    odd = (fails, raises_much, raises_half_a_pair, logs_much, logs_secrets)
    it = Pool(raises_one_object, ends_its_retries, succeeds, *odd)
    it.run('fails', task_id='unstored')
    it.run('fails', task_id='stored')
    it.run('ends_its_retries', ARGUMENT)
    it.run('raises_one_object', task_id='one')
    it.run('raises_one_object', task_id='two')
    for function in odd[1:]:
        it.run(function.__name__)
    # The next step is no task's: it cannot be sent once the body is over.
    message = {'properties': {'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}}}
    it.run('succeeds', ARGUMENT, retries=2, chain=[{'task': None}], **message)
    processes.stop()


def one_task() -> None:
    """Run a task that sends a message of its own and fails; end at once."""
    import sentry_sdk

    def reports_and_fails(argument: str) -> None:
        harmless, database_password = 'a local variable', 'hush'
        sentry_sdk.capture_message('words of a task')
        raise RuntimeError(f'with {SECRET} {len(harmless + database_password)}')

    Pool(reports_and_fails).run('reports_and_fails', ARGUMENT)
    processes.stop()


def switched_off() -> None:
    """Import the worker, and start and end as each kind of process."""
    import app.worker  # noqa: F401

    for role in Role:
        processes.start(role)
        processes.stop()
    assert 'sentry_sdk' not in sys.modules


if __name__ == '__main__':
    logs.setup(load_config(), 'x')
    programs = (web, monitor, consumer, pool, one_task, switched_off)
    {program.__name__: program for program in programs}[sys.argv[1]]()
