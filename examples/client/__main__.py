"""Sends tasks to the worker and reads their results, as another service does.

Needs the wheel alone, be-queue[results]: copy this folder and make it your own.
"""
# ruff: noqa: T201  (it prints for the person who started it)

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

from celery import Celery, states
from celery.exceptions import TimeoutError as NoResultError
from celery.result import AsyncResult

from be_queue import BeQueueError, Config, Queue, Queues
from be_queue.redact import redact
from be_queue.tracing import trace_sends

# Those entries of the worker's mapping, app/config/queues.py, that this service sends to.
try:
    QUEUES = Queues(
        [
            Queue(queue_name='python-backend-worker-template-add', task='add'),
            Queue(queue_name='python-backend-worker-template-retry-demo', task='retry_demo'),
        ],
    )
except BeQueueError as error:
    sys.exit(str(error))

EMBEDDED = re.compile(r'embedded(?::(\d{1,5}))?')
EMBEDDED_PORT = 4566
#: The template's checkout, when this file is in one.
CHECKOUT = Path(__file__).resolve().parents[2]
IN_CHECKOUT = (CHECKOUT / 'app' / 'server.py').is_file()

#: Seconds between two looks for a result.
POLL_INTERVAL = 0.1
BAR_WIDTH = 30
#: Seconds that the end waits for the last spans to be sent.
FLUSH_TIME = 2.0


class ClientError(Exception):
    """What keeps the client from its work, and what to check."""


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    chosen = options()
    signal.signal(signal.SIGINT, stop)
    try:
        if IN_CHECKOUT:
            # As the worker does. A service of your own has its variables from where it runs.
            with suppress(ImportError):
                from dotenv import load_dotenv

                load_dotenv(CHECKOUT / '.env')
        producer = Producer(chosen.env or os.environ.get('ENV') or 'local', chosen.timeout)
        print(f'sending to {producer.broker}', flush=True)
        with traced(producer.app) if chosen.trace else nullcontext():
            if chosen.count is None:
                return one_of_each(producer, chosen.wait)
            return many(producer, chosen.count, chosen.wait)
    except (BeQueueError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1


def stop(*_: Any) -> NoReturn:
    """End at once: an exception could come in the middle of an import, which takes it badly."""
    os.write(sys.stderr.fileno(), b'\nstopped\n')
    os._exit(130)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='client', description='Send tasks to the worker and read their results.'
    )
    parser.add_argument('--env', help='environment of the queues (default: ENV, or local)')
    parser.add_argument(
        '--count', type=int, metavar='N', help='send N add tasks instead of one of each task'
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=30.0,
        metavar='SECONDS',
        help='how long to wait for the next result (default: 30)',
    )
    parser.add_argument('--no-wait', dest='wait', action='store_false', help='send only')
    parser.add_argument(
        '--trace', action='store_true', help='make a trace, and send its spans to a Jaeger agent'
    )
    chosen = parser.parse_args()
    if chosen.count is not None and chosen.count < 1:
        parser.error(f'argument --count: must be 1 or more, not {chosen.count}')
    if not chosen.timeout > 0:
        parser.error(f'argument --timeout: must be more than 0 seconds, not {chosen.timeout:g}')
    return chosen


def one_of_each(producer: Producer, wait: bool) -> int:
    """Send one task of each kind, and print what became of it."""
    started = time.monotonic()
    sent = [('add', producer.send('add', 2, 3)), ('retry_demo', producer.send('retry_demo', 2))]
    for task, result in sent:
        line = f'{task:<10}  {result.id}'
        if wait:
            producer.wait(task, result)
            seconds = time.monotonic() - started
            line += f'  {result.state}  {seconds:.2f} s  {result.result!r}'
        print(line, flush=True)
    return 0 if not wait or all(result.successful() for _, result in sent) else 1


def many(producer: Producer, count: int, wait: bool) -> int:
    """Send ``count`` tasks, and print how fast they went."""
    started = time.monotonic()
    sent = list(with_bar('sent', (producer.send('add', n, 1) for n in range(count)), count))
    seconds = time.monotonic() - started
    print(f'{count} tasks sent in {seconds:.2f} s, {count / seconds:.0f} per second')
    if not wait:
        return 0
    ended = (producer.wait('add', result) for result in sent)
    states_of_all = Counter(result.state for result in with_bar('results', ended, count))
    seconds = time.monotonic() - started
    outcomes = ', '.join(f'{times} {state}' for state, times in states_of_all.most_common())
    print(f'{outcomes} in {seconds:.2f} s, {count / seconds:.0f} per second')
    return 0 if states_of_all[states.SUCCESS] == count else 1


@contextmanager
def traced(app: Celery) -> Iterator[None]:
    """Make one trace of all that is sent in the block, and of what becomes of it."""
    try:
        import opentracing  # type: ignore[import-untyped]
        from jaeger_client.config import Config as JaegerConfig
    except ImportError as error:
        raise ClientError(f'--trace: {error}: pip install jaeger-client six') from None
    agent = {
        'reporting_host': os.environ.get('JAEGER_AGENT_HOST') or 'localhost',
        'reporting_port': os.environ.get('JAEGER_AGENT_PORT') or '6831',
    }
    sampler = {'type': 'const', 'param': 1}
    settings = {'local_agent': agent, 'sampler': sampler, 'generate_128bit_trace_id': True}
    tracer = JaegerConfig(settings, service_name='client').new_tracer()
    opentracing.set_global_tracer(tracer)
    trace_sends(app)
    try:
        with tracer.start_active_span('client') as scope:
            print(f'trace {scope.span.trace_id:032x}', flush=True)
            yield
    finally:
        closed, deadline = tracer.close(), time.monotonic() + FLUSH_TIME
        while not closed.done() and time.monotonic() < deadline:
            time.sleep(0.01)


class Producer:
    """A Celery app that sends tasks and waits for results.

    Arguments:
        env: the environment of the queues.
        timeout: seconds to wait for a result.
    """

    def __init__(self, env: str, timeout: float) -> None:
        self.timeout = timeout
        queues = QUEUES.build_celery(env, username=os.environ.get('USERNAME') or None)
        config = Config(
            queues, SQS_ENDPOINT_URL=sqs_endpoint(env), **quick_to_fail(), **local_results(env)
        )
        #: Where the queues are.
        self.broker = boto_endpoint(config).rpartition('@')[2] or f'AWS, {config.AWS_REGION}'
        self.app = Celery('client')
        self.app.config_from_object(config)

    def send(self, task: str, *args: Any) -> AsyncResult:
        """Send a task; raises `ClientError` when the broker does not take it."""
        try:
            return self.app.send_task(task, args)
        except Exception as error:  # noqa: BLE001  (each transport has exceptions of its own)
            raise ClientError(
                f'cannot send to {self.broker}: {reason(error)}: is the worker running? '
                'If its queues are elsewhere, set SQS_ENDPOINT_URL, or for AWS ENV and AWS_REGION; '
                'check the AWS credentials'
            ) from None

    def wait(self, task: str, result: AsyncResult) -> AsyncResult:
        """Return the result once it is there; raises `ClientError` when it does not come."""
        try:
            result.get(self.timeout, propagate=False, interval=POLL_INTERVAL)
        except NoResultError:
            raise ClientError(self._no_result(task, result)) from None
        except BeQueueError as error:
            raise ClientError(f'{task} is sent. {error} Or give --no-wait.') from None
        except Exception as error:  # noqa: BLE001  (each database has exceptions of its own)
            raise ClientError(
                f'{task} is sent, but results cannot be read from {self.results}: '
                f'{reason(error)}: check RESULT_DB_* or CELERY_RESULT_BACKEND, or give --no-wait'
            ) from None
        return result

    @property
    def results(self) -> str:
        """Where the results are, without a password."""
        return str(self.app.backend.as_uri())

    def _no_result(self, task: str, result: AsyncResult) -> str:
        name, within = f'{task} {result.id}', f'{self.timeout:g} s'
        if result.state != states.PENDING:
            return f'{name} is {result.state} after {within}: give it longer with --timeout'
        queue = next(QUEUES.sqs_name(queue) for queue in QUEUES if queue.task == task)
        return '\n'.join(
            [
                f'{name} has no result after {within}. Check that a worker',
                f'  - runs and names queue {queue} in its log: same ENV and USERNAME',
                f'  - has its queues on {self.broker}: same SQS_ENDPOINT_URL or AWS_REGION',
                f'  - stores results in {self.results}: same RESULT_DB_*',
                '  - has no long line of tasks before this one: else give it longer with --timeout',
            ]
        )


def sqs_endpoint(env: str) -> str:
    """Return the SQS server's URL from the variable that the worker reads; '' for AWS."""
    chosen = os.environ.get('SQS_ENDPOINT_URL', 'embedded' if env == 'local' else '')
    embedded = EMBEDDED.fullmatch(chosen)
    if embedded and env != 'local':
        raise ClientError(
            f'SQS_ENDPOINT_URL={chosen}: the embedded server is for ENV=local alone: for {env} '
            'give a URL, or empty for AWS'
        )
    # The embedded server wants a login and takes any.
    return f'http://test:test@127.0.0.1:{embedded[1] or EMBEDDED_PORT}' if embedded else chosen


def boto_endpoint(config: Config) -> str:
    """Return the SQS server's URL; '' for AWS. boto3 has variables of its own."""
    names = ('AWS_ENDPOINT_URL_SQS', 'AWS_ENDPOINT_URL')
    own = next(filter(None, map(os.environ.get, names)), '')
    return config.SQS_ENDPOINT_URL or own


def local_results(env: str) -> dict[str, str]:
    """Return where a worker on this machine keeps results when it has no other setting."""
    file = CHECKOUT / 'var' / 'results.sqlite'
    elsewhere = os.environ.get('CELERY_RESULT_BACKEND') or os.environ.get('RESULT_DB_HOST')
    if env == 'local' and not elsewhere and IN_CHECKOUT and file.exists():
        return {'result_backend': f'db+sqlite:///{file}'}
    return {}


def quick_to_fail() -> dict[str, Any]:
    """Return settings that report an unavailable server soon; a service should wait longer."""
    client_config = {'connect_timeout': 5, 'retries': {'max_attempts': 2}}
    return {
        'broker_transport_options': {'client-config': client_config},
    }


def reason(error: BaseException) -> str:
    """Return what went wrong on one line, without a password."""
    cause = error.__cause__ or error.__context__ or error
    # What the database's driver said, without SQLAlchemy's words around it.
    cause = getattr(cause, 'orig', None) or cause
    return ' '.join(redact(f'{type(cause).__name__}: {cause}').split())


def with_bar(what: str, results: Iterable[AsyncResult], total: int) -> Iterator[AsyncResult]:
    """Pass results on while a bar on the terminal counts them."""
    for done, result in enumerate(results, 1):
        yield result
        if sys.stdout.isatty():
            bar = '#' * (BAR_WIDTH * done // total)
            end = '\n' if done == total else ''
            print(f'\r{what:<8}[{bar:<{BAR_WIDTH}}] {done}/{total}', end=end, flush=True)


if __name__ == '__main__':
    sys.exit(main())
