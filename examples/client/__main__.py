"""Sends tasks to the worker and reads their results, as another service does.

Needs the wheel alone, be-queue[results]: copy this folder and make it your own.
"""
# ruff: noqa: T201  (it prints for the person who started it)

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from celery import Celery, states
from celery.exceptions import TimeoutError as NoResultError
from celery.result import AsyncResult

from be_queue import BeQueueError, Config, Queue, Queues
from be_queue.outage import brief
from be_queue.tracing import trace_sends

# Those entries of the worker's mapping, app/config/queues.py, that this service sends to.
QUEUES = Queues(
    [
        Queue(queue_name='python-backend-worker-template-add', task='add'),
        Queue(queue_name='python-backend-worker-template-retry-demo', task='retry_demo'),
    ],
)
#: The template's checkout, if this file is in one, and where a local worker keeps its results.
CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOCAL_RESULTS = CHECKOUT / 'var' / 'results.sqlite'


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser('client')
    parser.add_argument('--env', help='environment of the queues (default: ENV, or local)')
    parser.add_argument('--count', type=int, help='add tasks to send, instead of one of each task')
    parser.add_argument(
        '--timeout', type=float, default=30, help='seconds to wait for a result (default: 30)'
    )
    parser.add_argument('--no-wait', dest='wait', action='store_false', help='send only')
    parser.add_argument('--trace', action='store_true', help='send a trace to a Jaeger agent')
    options = parser.parse_args()
    # At once: an exception could come in the middle of an import, which takes it badly.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if (CHECKOUT / 'app' / 'server.py').exists():
        # As the worker does. A service of your own has its variables from where it runs.
        with suppress(ImportError):
            from dotenv import load_dotenv

            load_dotenv(CHECKOUT / '.env')
    try:
        client = Client(options.env or os.environ.get('ENV') or 'local', options.timeout)
        print(f'sending to {client.broker}', flush=True)
        with traced(client.app) if options.trace else nullcontext():
            if options.count is None:
                return one_of_each(client, options.wait)
            return many(client, options.count, options.wait)
    except BeQueueError as error:
        sys.exit(str(error))


def one_of_each(client: Client, wait: bool) -> int:
    """Send one task of each kind, and print what became of it."""
    started = time.monotonic()
    sent = [('add', client.send('add', 2, 3)), ('retry_demo', client.send('retry_demo', 2))]
    for task, result in sent:
        line = f'{task:<10}  {result.id}'
        if wait:
            client.wait(task, result)
            seconds = time.monotonic() - started
            line += f'  {result.state}  {seconds:.2f} s  {result.result!r}'
        print(line, flush=True)
    return 0 if not wait or all(result.successful() for _, result in sent) else 1


def many(client: Client, count: int, wait: bool) -> int:
    """Send ``count`` tasks, and print how fast they went."""
    started = time.monotonic()
    results = [client.send('add', number, 1) for number in range(count)]
    seconds = time.monotonic() - started
    print(f'{count} tasks sent in {seconds:.2f} s, {count / seconds:.0f} per second', flush=True)
    if not wait:
        return 0
    ended = Counter(client.wait('add', result).state for result in results)
    seconds = time.monotonic() - started
    outcomes = ', '.join(f'{times} {state}' for state, times in ended.most_common())
    print(f'{outcomes} in {seconds:.2f} s, {count / seconds:.0f} per second')
    return 0 if ended[states.SUCCESS] == count else 1


class Client:
    """A Celery app that sends tasks and waits up to ``timeout`` seconds for each result."""

    def __init__(self, env: str, timeout: float) -> None:
        self.timeout = timeout
        endpoint = os.environ.get('SQS_ENDPOINT_URL', 'embedded' if env == 'local' else '')
        if endpoint.startswith('embedded'):  # the worker's own; it takes any login
            endpoint = f'http://test:test@127.0.0.1:{endpoint.partition(":")[2] or 4566}'
        # Reports an unavailable server soon; a service should wait longer.
        quick = {'client-config': {'connect_timeout': 5, 'retries': {'max_attempts': 2}}}
        settings: dict[str, Any] = {'broker_transport_options': quick}
        elsewhere = os.environ.get('CELERY_RESULT_BACKEND') or os.environ.get('RESULT_DB_HOST')
        if env == 'local' and not elsewhere and LOCAL_RESULTS.exists():
            settings['result_backend'] = f'db+sqlite:///{LOCAL_RESULTS}'
        queues = QUEUES.build_celery(env, username=os.environ.get('USERNAME') or None)
        config = Config(queues, SQS_ENDPOINT_URL=endpoint, **settings)
        #: Where the queues are, without a password.
        self.broker = config.SQS_ENDPOINT_URL.rpartition('@')[2] or f'AWS, {config.AWS_REGION}'
        self.app = Celery('client')
        self.app.config_from_object(config)

    def send(self, task: str, *args: Any) -> AsyncResult:
        """Send a task, or exit with what to check."""
        try:
            return self.app.send_task(task, args)
        except Exception as error:  # noqa: BLE001  (each transport has exceptions of its own)
            sys.exit(
                f'cannot send to {self.broker}: {brief(error)}: check that the worker runs, '
                'SQS_ENDPOINT_URL, or for AWS ENV, AWS_REGION and the credentials'
            )

    def wait(self, task: str, result: AsyncResult) -> AsyncResult:
        """Return the result once it is there, or exit with what to check."""
        results = self.app.backend.as_uri()
        try:
            result.get(self.timeout, propagate=False, interval=0.1)
        except NoResultError:
            queue = next(QUEUES.sqs_name(queue) for queue in QUEUES if queue.task == task)
            sys.exit(
                f'{task} {result.id} has no result after {self.timeout:g} s: give --timeout, or '
                f'check that a worker receives from {queue} (ENV, USERNAME) on {self.broker} '
                f'(SQS_ENDPOINT_URL, AWS_REGION) and stores results in {results} (RESULT_DB_*)'
            )
        except Exception as error:  # noqa: BLE001  (each database has exceptions of its own)
            sys.exit(
                f'{task} is sent, but results cannot be read from {results}: {brief(error)}: '
                'check RESULT_DB_* or CELERY_RESULT_BACKEND, or give --no-wait'
            )
        return result


@contextmanager
def traced(app: Celery) -> Iterator[None]:
    """Make one trace of all that is sent in the block, and of what becomes of it."""
    from jaeger_client.config import Config as JaegerConfig

    settings = {'sampler': {'type': 'const', 'param': 1}, 'generate_128bit_trace_id': True}
    # Finds the agent by JAEGER_AGENT_HOST and JAEGER_AGENT_PORT, and makes the tracer the global.
    tracer = JaegerConfig(settings, service_name='client').initialize_tracer()
    assert tracer is not None
    trace_sends(app)
    try:
        with tracer.start_active_span('client') as scope:
            print(f'trace {scope.span.trace_id:032x}', flush=True)
            yield
    finally:
        # The last spans have two seconds to be sent.
        closed, deadline = tracer.close(), time.monotonic() + 2
        while not closed.done() and time.monotonic() < deadline:
            time.sleep(0.01)


if __name__ == '__main__':
    sys.exit(main())
