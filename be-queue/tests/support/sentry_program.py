"""Processes that report to Sentry: ``python -m tests.support.sentry_program PROGRAM``."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import sentry_sdk
from celery import Celery
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject

from app.config.configuration import load_config
from be_queue.worker import logs, processes
from be_queue.worker.role import Role
from be_queue.worker.sentry import client

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
    app.add_url_rule('/broken', view_func=fail)
    http = app.test_client()
    http.set_cookie('session', SECRET)
    for path in ('/broken', '/not-found', '/metrics'):
        http.get(path, headers={'Authorization': f'Bearer {SECRET}'})
    fail_in_a_thread()
    processes.stop()


def other(role: Role) -> None:
    """End by an exception, as a monitor does, or Celery's worker when its event loop fails."""
    processes.start(role)
    fail_in_a_thread()
    try:
        fail()
    except RuntimeError:
        if role is Role.CONSUMER:
            logger.error('a failed task, which its pool process has reported', exc_info=True)
        logger.critical('it ends', exc_info=True)
        processes.stop()


def fail() -> None:
    logger.error('an error line alone')
    raise RuntimeError('on purpose')


def fail_in_a_thread() -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


class Backend(DisabledBackend):
    """Stores no failure of the task ``unstored``."""

    def mark_as_failure(self, task_id: str, *args: Any, **kwargs: Any) -> None:
        if task_id == 'unstored':
            raise Reject('the result database is unavailable', requeue=True)


def pool() -> None:
    """Run tasks that fail in each odd way; end at once."""
    app = Celery(broker='memory://')
    app.backend_cls = Backend
    error = RuntimeError('always the same')
    logging.getLogger().setLevel(logging.INFO)

    @app.task(name='raises_one_object')
    def raises_one_object() -> None:
        logger.error('a line of the task', exc_info=True)
        raise error

    @app.task(name='ends_its_retries', bind=True, max_retries=0)
    def ends_its_retries(self: Any, argument: str) -> None:
        raise self.retry()

    @app.task(name='raises_much')
    def raises_much() -> None:
        raise RuntimeError(f'half {chr(0xD800)} of a pair {"x" * 1_500_000}')

    @app.task(name='logs_much')
    def logs_much() -> None:
        for number in range(60):
            logger.info('%d %s', number, 'y' * 60_000)
        raise RuntimeError('on purpose')

    @app.task(name='tells_secrets')
    def tells_secrets(argument: str) -> None:
        harmless, database_password = 'a local variable', NAMED
        nested = {'db_credentials': {'value': NAMED}, 'headers': {'X-Api-Key': NAMED}}
        logger.info('it calls', extra=nested)
        sentry_sdk.capture_message('words of a task')
        raise RuntimeError(f'refused {SECRET} {len(harmless + database_password)}')

    @app.task(name='succeeds')
    def succeeds(argument: str) -> None: ...

    app.finalize()
    # As Celery does in a pool process, before it says that the process has started.
    for task in app.tasks.values():
        task.__trace__ = trace.build_tracer(task.name, task, app.loader, 'host', app=app)
    processes.start(Role.POOL)

    def run(name: str, *args: Any, task_id: str = '', **request: Any) -> None:
        task_id = task_id or name
        given = {'id': task_id, 'delivery_info': {'routing_key': 'a-queue'}, 'retries': 0}
        try:
            app.tasks[name].__trace__(task_id, args, {}, given | request)
        except Reject:
            logger.warning('it goes back to its queue')

    for task_id in ('unstored', 'one', 'two'):
        run('raises_one_object', task_id=task_id)
    run('ends_its_retries', ARGUMENT)
    run('raises_much')
    run('logs_much')
    # The next step is no task's: it cannot be sent once the body is over.
    message = {'properties': {'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}}}
    run('succeeds', ARGUMENT, retries=2, trace_id='beef', chain=[{'task': None}], **message)
    run('tells_secrets', ARGUMENT)
    processes.stop()


if __name__ == '__main__':
    logs.setup(load_config(), 'x')
    # Reports that a process sends at its end must arrive, also from a busy machine.
    client.FLUSH_TIMEOUT = 60
    programs = {Role.WEB: web, Role.POOL: pool}
    role = Role(sys.argv[1])
    programs.get(role, lambda: other(role))()
