"""Tasks and queues of the tests' own, for what the template's worker has no task for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, current_task, shared_task

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import REGION, SqsServer
from tests.support import counting

__all__ = ['FIFO_QUEUE', 'QUEUES', 'build', 'predefined']

FIFO_QUEUE = 'tests-count.fifo'

QUEUES = (
    Queue(queue_name='tests-add', task='tests.add'),
    Queue(queue_name='tests-total', task='tests.total'),
    Queue(queue_name='tests-fail', task='tests.fail'),
    Queue(queue_name='tests-note-failed', task='tests.note_failed'),
    Queue(queue_name=FIFO_QUEUE, task=counting.TASK),
)


def build(username: str, **settings: Any) -> Celery:
    """Return an app with these queues.

    Arguments:
        username: the first part of their names.
        settings: for `be_queue.Config`, beside the environment's variables.
    """
    queues = Queues(Queue(queue_name=q.queue_name, task=q.task) for q in QUEUES)
    app = Celery('tests', set_as_current=False)
    app.config_from_object(
        Config(queues.build_celery('local', username=username, platform_queue_name=''), **settings)
    )
    app.finalize()
    return app


def predefined(username: str, server: SqsServer) -> dict[str, dict[str, str]]:
    """Make every queue that a worker of the app consumes; return ``predefined_queues``."""
    client = server.client()
    queues = {}
    for short in ('celery', *(queue.queue_name for queue in QUEUES)):
        name = f'{username}-local-{short}'
        fifo = {'FifoQueue': 'true'} if name.endswith('.fifo') else {}
        url = client.create_queue(QueueName=name, Attributes=fifo)['QueueUrl']
        queues[name] = {
            'url': url,
            'region': REGION,
            'access_key_id': 'test',
            'secret_access_key': 'test',
        }
    return queues


@shared_task(name='tests.add')
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


@shared_task(name='tests.total')
def total(numbers: Sequence[int]) -> int:
    """Return the sum of many."""
    return sum(numbers)


@shared_task(name='tests.fail')
def fail(*_: Any) -> None:
    """Fail for good."""
    raise ValueError('on purpose')


@shared_task(name='tests.note_failed')
def note_failed(task_id: str) -> str:
    """Return the id of the task that failed: an error callback that is sent as a task."""
    return task_id


@shared_task(name='tests.note_error')
def note_error(request: Any, error: Exception, traceback: Any) -> None:
    """Store the error under ``error-{task id}``: a callback that the failed task's child calls."""
    # Not bound: to one that is, Celery gives the id alone.
    current_task.app.backend.store_result(f'error-{request.id}', repr(error), 'SUCCESS')
