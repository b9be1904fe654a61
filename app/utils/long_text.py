"""Texts that are too long for a log line or a report."""

from __future__ import annotations

__all__ = ['MAX_TEXT', 'shortened']

#: Characters of a message, a traceback or a field. Collectors take lines of 256 KiB (CloudWatch
#: Logs) and more, Sentry reports of 1 MiB.
MAX_TEXT = 32_000


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """Return ``text`` without its middle where it has more than ``most`` characters.

    Secrets come out of it before: half of one is not recognised.
    """
    left_out = len(text) - most
    if left_out <= 0:
        return text
    half = most // 2
    return f'{text[:half]} ... {left_out} characters are left out ... {text[len(text) - half :]}'
