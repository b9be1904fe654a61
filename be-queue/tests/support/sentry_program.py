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
from be_queue.worker import logs, processes
from be_queue.worker.role import Role

logger = logging.getLogger('tests.program')
#: The secret of a request, a log line and RESULT_DB_PASS.
SECRET = 'a-cookie-of-somebody'
#: Has the name of a secret wherever it stands.
NAMED = 'hush-as-its-name-says'
#: An argument of a task.
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
    _end_by_an_exception(Role.MONITOR, logging.ERROR)


def consumer() -> None:
    """End as Celery's worker does when its event loop has ended by an exception."""
    _end_by_an_exception(Role.CONSUMER, logging.CRITICAL)


def _end_by_an_exception(role: Role, level: int) -> None:
    processes.start(role)
    fail_in_a_thread()
    logger.error('an error line alone')
    try:
        raise RuntimeError('on purpose')
    except RuntimeError:
        if role is Role.CONSUMER:
            logger.error('a failed task, which its pool process has reported', exc_info=True)
        logger.log(level, 'it ends', exc_info=True)
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
    """Run tasks that fail in each odd way; end at once."""
    import sentry_sdk

    error = RuntimeError('always the same')
    logging.getLogger().setLevel(logging.INFO)

    def raises_one_object() -> None:
        logger.error('a line of the task', exc_info=True)
        raise error

    def ends_its_retries(argument: str) -> None:
        task = it.app.tasks['ends_its_retries']
        task.max_retries = 0
        raise task.retry()

    def raises_much() -> None:
        raise RuntimeError(f'half {chr(0xD800)} of a pair {"x" * 1_500_000}')

    def logs_much() -> None:
        for number in range(60):
            logger.info('%d %s', number, 'y' * 60_000)
        raise RuntimeError('on purpose')

    def tells_secrets(argument: str) -> None:
        harmless, database_password = 'a local variable', NAMED
        nested = {'db_credentials': {'value': NAMED}, 'headers': {'X-Api-Key': NAMED}}
        logger.info('it calls', extra=nested)
        sentry_sdk.capture_message('words of a task')
        raise RuntimeError(f'refused {SECRET} {len(harmless + database_password)}')

    def succeeds(argument: str) -> None: ...

    it = Pool(raises_one_object, ends_its_retries, raises_much, logs_much, tells_secrets, succeeds)
    for task_id in ('unstored', 'one', 'two'):
        it.run('raises_one_object', task_id=task_id)
    it.run('ends_its_retries', ARGUMENT)
    it.run('raises_much')
    it.run('logs_much')
    # The next step is no task's: it cannot be sent once the body is over.
    message = {'properties': {'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}}}
    it.run('succeeds', ARGUMENT, retries=2, chain=[{'task': None}], **message)
    it.run('tells_secrets', ARGUMENT)
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
    if sys.argv[1] != 'switched_off':
        from be_queue.worker.sentry import client

        # Reports that a process sends at its end must arrive, also from a busy machine.
        client.FLUSH_TIMEOUT = 60
    programs = (web, monitor, consumer, pool, switched_off)
    {program.__name__: program for program in programs}[sys.argv[1]]()
