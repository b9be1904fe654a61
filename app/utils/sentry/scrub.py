"""Removes secrets from an event, and keeps it storable and below Sentry's limit of size."""

from __future__ import annotations

import json
from typing import Any

from app.redaction import redacted
from app.utils.long_text import MAX_TEXT, shortened
from be_queue.redact import redact
from be_queue.text import storable

__all__ = ['MAX_REPORT', 'scrub']

#: Bytes of an event. Sentry takes 1 MiB, with what the SDK puts around an event:
#: https://docs.sentry.io/concepts/data-management/size-limits/
MAX_REPORT = 900_000
#: Characters of a text. The next length is tried while an event is too large.
_LENGTHS = (MAX_TEXT, 2000, 200)


def scrub(event: Any) -> Any:
    """Return ``event`` without passwords in URLs, values under a secret's name, known secrets.

    The middle of long texts is left out.
    """
    event = redact(event)
    for length in _LENGTHS:
        # Masked before it is shortened: half of a secret is not recognised.
        event = _clean(event, length)
        if len(json.dumps(event, default=str)) <= MAX_REPORT:
            break
    return event


def _clean(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return shortened(storable(redacted(value)), length)
    if isinstance(value, dict):
        return {_clean(key, length): _clean(inner, length) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner, length) for inner in value]
    return value
