"""What goes on spans, as it may be sent: without secrets, and in a form that exporters can encode.

A task's own spans have texts as well: the error that a ``with`` block ends in is put on its span by
the tracer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.known_secrets import redacted

__all__ = ['cleaned']

#: The integers that Jaeger and OTLP have a form for.
MIN_INT, MAX_INT = -(2**63), 2**63 - 1


def cleaned(value: Any) -> Any:
    """Return a value of a tag or a log: a number that is too large becomes text."""
    if isinstance(value, str):
        # Lone surrogates, such as those of file names that are no UTF-8.
        return redacted(value).encode('utf-8', 'backslashreplace').decode()
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return hex(value)  # of one of many digits Python makes no decimal text
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return tuple(cleaned(inner) for inner in value)
    return value
