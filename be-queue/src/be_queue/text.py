"""Texts as a log line, a report or a database row takes them."""

from __future__ import annotations

__all__ = ['MAX_TEXT', 'shortened', 'storable']

#: Characters of a message, a traceback or a field. Collectors take lines of 256 KiB (CloudWatch
#: Logs) and more, Sentry reports of 1 MiB.
MAX_TEXT = 32_000


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """Return ``text`` without its middle where it has more than ``most`` characters.

    Mask secrets first: half of one is not recognised.
    """
    left_out = len(text) - most
    if left_out <= 0:
        return text
    half = most // 2
    return f'{text[:half]} ... {left_out} characters are left out ... {text[len(text) - half :]}'


def storable(text: str) -> str:
    """Return a text without what PostgreSQL refuses: NUL and halves of surrogate pairs.

    An exception may have them from the data that it is about, and its traceback has its text.
    """
    return text.replace('\0', '\N{REPLACEMENT CHARACTER}').encode(errors='replace').decode()
