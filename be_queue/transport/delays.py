"""How long SQS has to delay a message, by its task's ETA."""

from __future__ import annotations

import time
from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware

__all__ = ['MAX_DELAY_SECONDS', 'delay_seconds', 'due_at', 'seconds_left']

#: The longest DelaySeconds, a limit of SQS.
MAX_DELAY_SECONDS = 900


def delay_seconds(message: dict[str, Any], now: float | None = None) -> int:
    """Return the DelaySeconds with which to send a message; 0 when it may start at once.

    Rounded down: a worker holds the message for the rest, so that its task is not late.

    Arguments:
        message: as kombu gives it to a transport; Celery's ``eta`` is in its ``headers``.
        now: seconds since 1970; by default the time.
    """
    return int(min(seconds_left(message, now), MAX_DELAY_SECONDS))


def seconds_left(message: dict[str, Any], now: float | None = None) -> float:
    """Return the seconds until a message's time; 0 for none, and for one that cannot be read.

    Arguments:
        message: as for `delay_seconds`.
        now: seconds since 1970; by default the time.
    """
    headers = message.get('headers')
    eta = headers.get('eta') if isinstance(headers, dict) else None
    if not eta:
        return 0.0
    try:
        # Celery's own functions: it must come to the same time when it gets the message.
        at: float = maybe_make_aware(maybe_iso8601(eta)).timestamp()
    except (AttributeError, OverflowError, TypeError, ValueError):
        return 0.0  # Celery refuses the message, and says why
    return max(0.0, at - (time.time() if now is None else now))


def due_at(received: dict[str, Any], message: dict[str, Any]) -> float:
    """Return when a message could run first, in seconds since 1970: sent, and its time come.

    Arguments:
        received: the message as SQS returned it; without ``SentTimestamp`` it was sent just now.
        message: the same, decoded.
    """
    try:
        sent_at = int(received['Attributes']['SentTimestamp']) / 1000
    except (KeyError, TypeError, ValueError):
        sent_at = time.time()
    return sent_at + seconds_left(message, sent_at)
