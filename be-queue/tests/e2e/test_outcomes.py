"""However a task ends, it is the only one that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Reject

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending
from tests.support.worker import Site

#: By way: the class that `AsyncResult.get` raises, and what its text has in it.
FAILS = {
    'memory': ('MemoryError', 'too much'),
    'allocation': ('AllocationError', 'Unable to allocate 5 of float64'),
    'exit': ('TaskError', 'SystemExit: 3'),
    'cancelled': ('TaskError', 'CancelledError: cancelled'),
    'panic': ('TaskError', 'PanicError: index-7'),
    'worker shutdown': ('TaskError', 'WorkerShutdown: 0'),
    'worker lost': ('WorkerLostError', 'lost'),
    'time limit': ('TimeLimitExceeded', '5'),
    'recursion': ('RecursionError', 'maximum recursion depth exceeded'),
    'arguments': ('ServiceError', 's3-404'),
    'no arguments': ('SilentError', 'a field'),
    'no pickle': ('UnpicklableError', 'a text'),
    'foreign': ('ForeignError', 'a text'),
    'local': ('_local.<locals>.LocalError', 'nowhere'),
    'surrogate': ('RuntimeError', 'half \ud800 of a pair\0'),
    'no json': ('EncodeError', 'object is not JSON serializable'),
    'deep': ('EncodeError', 'recursion'),
}
#: Attempts by way of a task whose policy retries: what is no `Exception` no policy retries.
ATTEMPTS = {'exit': 1, 'memory': 2, 'arguments': 2}
#: Ways that cost the process: the task runs again, until its message is a dead letter.
COST_THE_PROCESS = ('process exit', 'kill', 'term')


def test_no_end_of_a_task_ends_more_than_the_task(
    site: Site, sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    queue = f'{site.username}-local-celery'
    options = {'wait_time_seconds': 1, 'max_receives': {queue: 2}}
    settings = {'CELERY_WORKER_CONCURRENCY': 4, 'CELERY_BROKER_TRANSPORT_OPTIONS': options}
    with site.worker(**settings, **ending.IMPORTS) as server:
        producer = site.producer()
        main = server.pid_of('celery')
        marks, end = tmp_path / 'marks', tmp_path / 'end'
        beside = producer.send_task(ending.BESIDE, (str(marks), str(end)))
        wait_until(marks.exists, 'a task runs beside them')

        for way in COST_THE_PROCESS:
            producer.send_task(ending.ENDS, (way,))
        rejected = producer.send_task(ending.ENDS, ('rejected',))
        producer.send_task(ending.ENDS, ('ignored',))
        later = producer.send_task(ending.RETRIES_LATER)
        huge = producer.send_task(ending.ENDS, ('huge',))
        sent = {
            (name, way): producer.send_task(name, (way,))
            for name, ways in (
                (ending.ENDS, FAILS),
                (ending.ENDS_AND_RETRIES, ATTEMPTS),
            )
            for way in ways
        }

        for (name, way), result in sent.items():
            kind, text = raised(result)
            assert kind == FAILS[way][0], (name, way)
            assert FAILS[way][1] in text, (name, way)
        wait_until(lambda: later.state == 'RETRY', 'a task is to be retried')
        assert repr(later.result) == "ServiceError('s3-503')"
        assert len(huge.get(timeout=60)) == ending.HUGE
        with pytest.raises(Reject, match='a text'):
            rejected.get(timeout=60)
        wait_until(
            lambda: sqs.visible(f'err-{queue}') == len(COST_THE_PROCESS) + 1,
            'those that end their process, and the rejected one, are dead letters',
            timeout=60,
        )
        # The task beside them has the one message that is left.
        wait_until(lambda: (sqs.visible(queue), sqs.in_flight(queue)) == (0, 1), 'all are deleted')

        end.touch()
        assert beside.get(timeout=60) in server.pool_pids()
        assert marks.read_text() == 'ran\n'
        assert server.pid_of('celery') == main

        failures = [f'{result.id}] raised unexpected' for result in sent.values()]
        assert [server.log.count(failure) for failure in failures] == [1] * len(sent)
        assert 'UnpickleableExceptionWrapper' not in server.log
        check_rows(postgres, sent)
        retried = {'name': ending.ENDS_AND_RETRIES}
        started = sum(ATTEMPTS.values())
        assert server.metric('worker_tasks_count_total', state='STARTED', **retried) == started
        for way in ATTEMPTS:
            assert server.metric('tasks_failed_total', exception=FAILS[way][0], **retried) == 1


def raised(result: Any) -> tuple[str, str]:
    """Return the class and the text of what `AsyncResult.get` raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  (of any class)
        result.get(timeout=60)
    return caught.type.__name__, str(caught.value)


def check_rows(postgres: PostgresServer, sent: dict[tuple[str, str], Any]) -> None:
    with postgres.connect() as connection:
        for (name, way), result in sent.items():
            status, traceback = connection.execute(
                'SELECT status, traceback FROM celery_taskmeta WHERE task_id = %s', [result.id]
            ).fetchone()
            assert status == 'FAILURE', (name, way)
            assert FAILS[way][0].rpartition('.')[2] in traceback, (name, way)
