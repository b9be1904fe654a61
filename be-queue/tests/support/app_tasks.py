"""Tasks of the tests' own for a worker of app/server.py, through its ``celery`` queue."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import psutil
from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from app.config.configuration import load_config
from app.tasks.base_task import FixedDelayTask, NoRetryTask
from app.tasks.tasks import add
from be_queue.worker.fluent import td
from be_queue.worker.tracing import tracer

#: For the variables of `tests.support.worker.Site.server`.
IMPORTS = {'CELERY_IMPORTS': ('tests.support.app_tasks', 'tests.support.rejecting')}

ALWAYS_FAILS = 'tests.always_fails'
FAILS_AS_EXPECTED = 'tests.fails_as_expected'
FAILS_WITH_SECRETS = 'tests.fails_with_secrets'
HEADERS = 'tests.headers'
LOGS_EVENTS = 'tests.logs_events'
MULTIPROCESSING = 'tests.multiprocessing'
OWN_MEMORY = 'tests.own_memory'
OUTLASTS_SOFT_LIMIT = 'tests.outlasts_soft_limit'
RETRIED_LATER = 'tests.retried_later'
RETURNS_NO_JSON = 'tests.returns_no_json'
SAYS = 'tests.says'
SHORT = 'tests.short'
TRACED = 'tests.traced'


@shared_task(
    base=FixedDelayTask, name=ALWAYS_FAILS, bind=True, max_retries=2, default_retry_delay=0
)
def always_fails(self: Task, text: str) -> None:
    """Fail at each of three attempts."""
    raise ConnectionError(f'{text}, attempt {self.request.retries + 1}')


@shared_task(base=NoRetryTask, name=FAILS_AS_EXPECTED, throws=(KeyError,))
def fails_as_expected() -> None:
    """Fail in a way that the task is known for."""
    raise KeyError('on purpose')


@shared_task(base=NoRetryTask, name=FAILS_WITH_SECRETS)
def fails_with_secrets(login: str) -> None:
    """Fail with the password of the result database and a ``login``, user:password, all over."""
    database_password = load_config().result_db_pass.get_secret_value()
    url = f'https://{login}@localhost/path'
    harmless = {'url': url, 'list': [database_password], 'visible': 'a local variable'}
    try:
        raise ConnectionError(f'cannot reach {url}')
    except ConnectionError as error:
        raise RuntimeError(f'{harmless}, login with {database_password!r}') from error


@shared_task(base=FixedDelayTask, name=HEADERS, bind=True, max_retries=1, default_retry_delay=0)
def headers(self: Task) -> list[str]:
    """Be retried once; return the names of what the retry's message has in its headers."""
    if not self.request.retries:
        raise ConnectionError('on purpose')
    return sorted({*vars(self.request), *(self.request.headers or {})})


@shared_task(base=NoRetryTask, name=LOGS_EVENTS)
def logs_events(count: int, size: int) -> int:
    """Log ``count`` events of about ``size`` bytes; return how many were taken."""
    return sum(td.log('events', {'n': n, 'padding': 'x' * size}) for n in range(count))


@shared_task(base=NoRetryTask, name=OWN_MEMORY)
def own_memory() -> float:
    """Collect garbage; return which part of its memory the process shares with no other."""
    gc.collect()
    memory = psutil.Process().memory_full_info()
    return float(memory.uss / memory.rss)


@shared_task(base=NoRetryTask, name=MULTIPROCESSING)
def uses_multiprocessing() -> list[float]:
    """Work in processes of its own, started in every way; return what they return."""
    queue: multiprocessing.SimpleQueue[float] = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=queue.put, args=(1,))
    process.start()
    result = queue.get()
    process.join()
    with multiprocessing.Pool(2) as pool, ProcessPoolExecutor(2) as executor:
        results = [result, *pool.map(abs, [-2, -3]), *executor.map(abs, [-4, -5])]
    return [*results, _status_of_one_terminated_while_it_starts()]


def _status_of_one_terminated_while_it_starts() -> int | None:
    """Python drops what a handler of signals raises while it calls what is registered for forks."""
    (starts, say_starts), (goes_on, say_go_on) = os.pipe(), os.pipe()
    process = multiprocessing.Process(target=time.sleep, args=(60,))

    def in_child() -> None:
        if process.pid is None:
            os.write(say_starts, b'.')
            os.read(goes_on, 1)

    os.register_at_fork(after_in_child=in_child)
    process.start()
    os.read(starts, 1)
    process.terminate()
    os.write(say_go_on, b'.')
    process.join()
    return process.exitcode


@shared_task(base=NoRetryTask, name=OUTLASTS_SOFT_LIMIT)
def outlasts_soft_limit() -> None:
    """Take no notice of the soft time limit, and run into the hard one."""
    while True:
        with suppress(SoftTimeLimitExceeded):
            signal.pause()


@shared_task(base=FixedDelayTask, name=RETRIED_LATER, default_retry_delay=5)
def retried_later() -> None:
    """Fail, and wait for the retry."""
    raise ConnectionError('on purpose')


@shared_task(base=NoRetryTask, name=RETURNS_NO_JSON)
def returns_no_json() -> object:
    """Return what cannot be stored."""
    return object()


@shared_task(base=NoRetryTask, name=SHORT, time_limit=1)
def short(seconds: float) -> None:
    """Sleep for longer than its own limit."""
    time.sleep(seconds)


@shared_task(base=NoRetryTask, name=TRACED, bind=True)
def traced(self: Task) -> tuple[str, str]:
    """Send a task from within a span of its own; return the trace's id and the sent task's."""
    with tracer().start_active_span('own'):
        sent = self.app.send_task('add', (1, 2))
    return self.request.trace_id, sent.id


@shared_task(base=NoRetryTask, name=SAYS)
def says(word: str) -> float:
    """Say ``word`` in every way that ends in the log, and the result database's password too."""
    password = load_config().result_db_pass.get_secret_value()
    logging.getLogger('tests').info('own %s', word, extra={'count': 1, 'given': password})
    get_task_logger('tests.of_celery').info('of celery %s', word)
    logging.getLogger('urllib3.connectionpool').warning('library %s: %s', word, password)
    warnings.warn(f'warning {word}', stacklevel=1)
    print(f'printed {word}', password)  # noqa: T201
    try:
        raise ValueError(password)
    except ValueError:
        logging.getLogger('tests').exception('failed %s', word)
    return add(1, 2)
