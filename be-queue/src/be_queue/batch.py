"""Sends many tasks at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billiard.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from celery import Celery, Signature
    from celery.result import AsyncResult

__all__ = ['Outcome', 'send_batch']


@dataclass(frozen=True)
class Outcome:
    """The outcome of one signature of a batch.

    Arguments:
        result: what ``apply_async`` returned, with the task's id; None where it raised.
        error: None when SQS has the task; else what ``apply_async`` raised, or a `NotSentError`
            with the queues that have it and those that have not.
    """

    result: AsyncResult | None
    error: Exception | None


def send_batch(app: Celery, signatures: Iterable[Signature]) -> list[Outcome]:
    """Send signatures ten to a request, with several requests in flight; return when SQS answered.

    Each goes through its own ``apply_async``: with its options, links, routing and signals, except
    that ``after_task_publish`` comes before SQS has the task. Chains, groups and chords are sent as
    ``apply_async`` sends them; an error of one of their messages is theirs.

    One that cannot be sent stops no other, and nothing is raised for it: look at each outcome. A
    message that SQS fails is tried five times within a few seconds. When three calls or requests in
    a row do not reach SQS at all, the others are not tried and have the same error.

    On another transport than ``be_queue.transport:Transport`` they are sent one by one.

    Arguments:
        app: sends them.
        signatures: as from ``task.s(...)`` or ``app.signature(...)``.

    Returns one `Outcome` for each signature, in their order.
    """
    # Imported here, since they take a while and few processes send batches.
    from celery.canvas import maybe_signature

    from be_queue.transport.batch import Batch, CircuitBreaker, Entry

    calls: list[tuple[AsyncResult | None, Exception | None, Entry]] = []
    breaker = CircuitBreaker()
    with Batch() as batch:
        for signature in list(signatures):
            entry, result = Entry(), None
            error: Exception | None = breaker.error or batch.given_up
            if error is None:
                try:
                    result = maybe_signature(signature, app=app).apply_async()
                    batch.commit(entry)
                except SoftTimeLimitExceeded:  # of the task that sends the batch
                    raise
                except Exception as raised:  # noqa: BLE001  (serializers and signals raise anything)
                    error = raised
                    batch.discard()
                breaker.note(error if isinstance(error, OperationalError) else None)
            calls.append((result, error, entry))
    return [Outcome(result, error or entry.error()) for result, error, entry in calls]
