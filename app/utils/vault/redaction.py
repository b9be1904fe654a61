"""Tells the logs what may not stand in them."""

from __future__ import annotations

import contextlib

__all__ = ['keep_out_of_logs']


def keep_out_of_logs(secret: str) -> None:
    """Have the logs of this process mask ``secret``, where they can."""
    # Only now, and only if it is there: the logs are no part of this.
    with contextlib.suppress(ImportError):
        from app.utils.logs import secret as mask

        mask(secret)
