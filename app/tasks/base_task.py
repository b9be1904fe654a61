"""Retry policies, as base classes of tasks.

    @shared_task(base=ExponentialBackoffTask, name='charge', max_retries=8)
    def charge(order_id): ...

| base class             | waits before a retry                                   | retries |
|------------------------|--------------------------------------------------------|---------|
| ExponentialBackoffTask | a random time up to 1, 2, 4, 8, ... s, at most 300 s   | 5       |
| FixedDelayTask         | 10 s                                                   | 5       |
| NoRetryTask            |                                                        | 0       |

Every attribute can be set per task in the decorator. A retry is a new message with the same task
id; the old one is deleted once the new one is on SQS.
"""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

__all__ = [
    'NEVER_RETRIED',
    'BaseTask',
    'ExponentialBackoffTask',
    'FixedDelayTask',
    'NoRetryTask',
    'PermanentError',
]


class PermanentError(Exception):
    """Raise it from a task that no retry can help: the task fails at once."""


#: Mistakes in code or data, which a second attempt would only repeat. A task that ran into its
#: time limit is here as well: it would take a child for as long again.
NEVER_RETRIED: tuple[type[Exception], ...] = (
    PermanentError,
    SoftTimeLimitExceeded,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)


class BaseTask(Task):
    """Common part of all policies; use one of its subclasses.

    ``soft_time_limit`` and ``time_limit``, in seconds, come from the settings of the same names
    with ``task_`` in front, see WorkerConfig. Both count from the task's start, here and in a call.
    A task with a longer limit of its own sets both. A soft limit that is not below the hard one is
    left out.
    """

    abstract = True

    #: Exceptions that are retried, but for those of the second line.
    autoretry_for: tuple[type[BaseException], ...] = (Exception,)
    dont_autoretry_for: tuple[type[BaseException], ...] = NEVER_RETRIED

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().retry(*args, **kwargs)
        except Reject as error:
            # SQS did not take the retry. Celery would drop the message: it comes back instead.
            raise Reject(error.reason, requeue=True) from error


class ExponentialBackoffTask(BaseTask):
    """Waits a random time up to a bound that doubles with each retry.

    The randomness ("full jitter") spreads the retries of tasks that failed together; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    abstract = True
    max_retries = 5
    #: The first bound in seconds, and the last.
    retry_backoff = 1
    retry_backoff_max = 300
    retry_jitter = True


class FixedDelayTask(BaseTask):
    """Waits the same time before each retry."""

    abstract = True
    max_retries = 5
    retry_backoff = False
    #: In seconds.
    default_retry_delay = 10


class NoRetryTask(BaseTask):
    """Fails at the first error: for work that must not be done twice."""

    abstract = True
    max_retries = 0
    autoretry_for = ()
