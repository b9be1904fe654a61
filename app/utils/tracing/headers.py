"""Reads a trace's context, and when the task was sent, from the headers of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import opentracing  # type: ignore[import-untyped]

from be_queue.tracing import JAEGER, SENT_AT, W3C, in_both_forms

__all__ = ['TAKEN_AT', 'context', 'sent_at', 'sqs_sent_at']

#: Header under which the time at which SQS took the message reaches the pool process.
TAKEN_AT = 'trace_taken_at'


def context(tracer: opentracing.Tracer, headers: Mapping[str, Any]) -> Any:
    """Return the context in which the task was sent; None when it was sent without."""
    found = in_both_forms({name: headers.get(name) for name in (JAEGER, W3C)})
    return tracer.extract(opentracing.Format.TEXT_MAP, found) if found else None


def sent_at(headers: Mapping[str, Any], now: float) -> float | None:
    """Return when the task was sent, in seconds since 1970; None when no header says so.

    The sender's time is better than SQS's, which for a delayed task is when it was last sent again.
    A time in the future, by a clock that is ahead, counts as ``now``.
    """
    for name in (SENT_AT, TAKEN_AT):
        given = headers.get(name)
        if isinstance(given, (int, float)) and given > 0:
            return min(float(given), now)
    return None


def sqs_sent_at(delivery_info: Mapping[str, Any] | None) -> float | None:
    """Return when SQS took a received message, in seconds since 1970."""
    message = (delivery_info or {}).get('sqs_message') or {}
    milliseconds = (message.get('Attributes') or {}).get('SentTimestamp')
    return int(milliseconds) / 1000 if milliseconds else None
