"""Takes secrets out of a report, what its server may fail to store, and what makes it too large.

Secrets are those under a name that says so, and those that are known.
"""

from __future__ import annotations

import json
from typing import Any

from app.redaction import redacted
from app.utils.long_text import MAX_TEXT, shortened
from be_queue.redact import redact
from be_queue.text import storable

__all__ = ['MAX_REPORT', 'scrub']

#: Bytes of a report. Sentry takes 1 MiB, with what the SDK puts around it:
#: https://docs.sentry.io/concepts/data-management/size-limits/
MAX_REPORT = 900_000
#: Characters of a text, then those of a report that is too large with them: it may have many.
_LENGTHS = (MAX_TEXT, 2000, 200)


def scrub(report: Any) -> Any:
    """Return ``report`` without URLs' passwords, what a secret's name names, and known secrets.

    Texts that are too long lose their middle.
    """
    report = redact(report)
    for length in _LENGTHS:
        # Of a text that is shortened already the rest is shortened: no secret is in it.
        report = _clean(report, length)
        if len(json.dumps(report, default=str)) <= MAX_REPORT:
            break
    return report


def _clean(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return shortened(storable(redacted(value)), length)
    if isinstance(value, dict):
        return {_clean(key, length): _clean(inner, length) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner, length) for inner in value]
    return value
