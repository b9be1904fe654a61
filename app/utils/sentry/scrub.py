"""Takes secrets out of a report: those under a name that says so, and those that are known."""

from __future__ import annotations

from typing import Any

from app.known_secrets import redacted
from be_queue.redact import redact

__all__ = ['scrub']


def scrub(report: Any) -> Any:
    """Return ``report`` without URLs' passwords, what a secret's name names, and known secrets."""
    return _redacted(redact(report))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {_redacted(key): _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner) for inner in value]
    return value
