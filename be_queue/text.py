"""Texts that a server may refuse."""

from __future__ import annotations

__all__ = ['storable']


def storable(text: str) -> str:
    """Return a text without what PostgreSQL refuses: NUL and halves of surrogate pairs.

    An exception may have them from the data that it is about, and its traceback has its text.
    """
    return text.replace('\0', '\N{REPLACEMENT CHARACTER}').encode(errors='replace').decode()
