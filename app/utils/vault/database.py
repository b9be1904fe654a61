"""The login of the result database in this process: held by itself, or by its parent.

A process of the pool reads what the worker's main process, from which it was forked, holds. Every
other process holds a login of its own.
"""

from __future__ import annotations

import os
import threading

from app import redaction
from app.config.configuration import Config, load_config
from app.utils.vault.holder import Holder
from app.utils.vault.shared import DatabaseLogin, SharedLogin

__all__ = ['hold', 'login', 'refused', 'release']

_lock = threading.Lock()
_shared: SharedLogin | None = None
_holder: Holder | None = None
_seen = 0


def hold(config: Config, *, wait: bool) -> None:
    """Get a login, and keep a valid one from now on: for this process, and for its forks.

    Arguments:
        wait: until there is one or a first try has failed, ``VAULT_TIMEOUT`` seconds at most.
    """
    global _shared, _holder
    with _lock:
        if _shared is None:
            _shared = SharedLogin()
            _holder = Holder(config, _shared, os.getpid())
            _holder.start()
        holder = _holder
    if wait and holder is not None:
        holder.wait_tried(config.vault_timeout)


def inherit() -> None:
    """Use the login that the parent holds."""
    global _holder, _lock
    # The parent's, which may be held for ever in this process.
    _lock = threading.Lock()
    _holder = None


def release() -> None:
    """Let the logins of this process end, within a bounded time."""
    global _holder
    holder, _holder = _holder, None
    if holder is not None:
        holder.stop()


def login() -> DatabaseLogin | None:
    """Return the latest login; None while there is none."""
    global _seen
    if _shared is None:
        # Nobody has told this process what it is: a script, say, that reads results.
        hold(load_config(), wait=True)
    assert _shared is not None
    found = _shared.read()
    if found is not None and found.number != _seen:
        _seen = found.number
        redaction.add(found.password)
    return found


def refused(login: DatabaseLogin, words: str = '') -> None:
    """Ask for another login: the database does not take this one, and says why."""
    if _shared is not None:
        _shared.refuse(login, ' '.join(redaction.redacted(words).split()))
