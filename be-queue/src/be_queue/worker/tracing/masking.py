"""Masks secrets in the names, tags and logs of finished spans, those of a task's own included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from be_queue.text import shortened
from be_queue.worker.redaction import redacted

__all__ = ['masked']


def masked(value: Any, length: int) -> Any:
    """Return the values of tags or logs, or their names, as they may be sent.

    Arguments:
        length: characters that are kept of a text. Exporters must not cut it before: half a secret
            is not recognised.
    """
    if isinstance(value, str):
        # Lone surrogates, as in file names that are not UTF-8, would fail a whole batch.
        text = redacted(value).encode('utf-8', 'backslashreplace').decode()
        return shortened(text, length)
    if isinstance(value, (list, tuple)):
        return [masked(inner, length) for inner in value]
    if isinstance(value, Mapping):
        return {masked(key, length): masked(inner, length) for key, inner in value.items()}
    return value
