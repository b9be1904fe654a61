"""Connects to the result database with the credentials that Vault gives, by SQLAlchemy's events.

The URL of such a database names neither user nor password: there is none to be seen, and every
engine made of it goes on when the credentials change. A process of the pool uses those that the
worker's main process holds, from which it was forked; every other process holds its own.
"""

from __future__ import annotations

import os
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from be_queue.worker import redaction
from be_queue.worker.vault.shared_login import DatabaseLogin, SharedLogin

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from be_queue.worker.settings import Settings
    from be_queue.worker.vault.lease_keeper import LeaseKeeper

__all__ = ['hold', 'listen', 'outdated', 'release']

#: What a server says after it has taken the password, and another login would not change: libpq
#: gives no SQLSTATE at a connect. In another language it counts as a refused login.
OTHER_FAULTS = re.compile(
    r'database ".*" does not exist|connection slots|too many (clients|connections)'
    r'|not currently accepting connections|the database system is'
)
#: Where a connection of SQLAlchemy's keeps the user that it was made with.
USER = 'vault_user'

_lock = threading.Lock()
_config: Settings | None = None
_shared: SharedLogin | None = None
_keeper: LeaseKeeper | None = None


@cache
def listen() -> None:
    """Have every engine of this process connect with Vault's login where it gives one."""
    from sqlalchemy import Engine, event  # a quarter of the time that an import of the app takes
    from sqlalchemy.pool import Pool

    event.listen(Pool, 'checkout', _check_out)
    event.listen(Engine, 'do_connect', _connect)


def hold(config: Settings, *, wait: bool) -> None:
    """Obtain a login, and keep a valid one from now on: for this process, and for its forks.

    Arguments:
        wait: until there is one or a first try has failed, ``VAULT_TIMEOUT`` seconds at most.
    """
    global _config, _shared, _keeper
    from be_queue.worker.vault.lease_keeper import LeaseKeeper  # it loads hvac

    listen()
    with _lock:
        if _shared is None:
            _config, _shared = config, SharedLogin()
            _keeper = LeaseKeeper(config, _shared)
            _keeper.start()
        keeper = _keeper
    if wait and keeper is not None:
        keeper.wait_tried(config.vault_timeout)


def release() -> None:
    """Let the logins of this process end, within a bounded time."""
    global _keeper
    keeper, _keeper = _keeper, None
    if keeper is not None:
        keeper.stop()


def _forget_keeper() -> None:
    """Leave it to the parent of a forked process to keep and to revoke the login."""
    global _keeper
    _keeper = None


os.register_at_fork(after_in_child=_forget_keeper)


def outdated(connection: Connection) -> bool:
    """Return whether a connection was made with an earlier login of Vault's, which soon ends."""
    return _is_outdated(connection.info.get(USER))


def _is_outdated(user: str | None) -> bool:
    login = _shared.read() if user is not None and _shared is not None else None
    return login is not None and user != login.user


def _check_out(connection: Any, record: Any, proxy: Any) -> None:
    if _is_outdated(record.info.get(USER)):
        from sqlalchemy.exc import DisconnectionError

        raise DisconnectionError  # the pool makes a new connection in its place


def _connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
    """Return a new connection with the latest login; None for a database that has another."""
    if dialect.name != 'postgresql' or 'user' in parameters or not _is_vaults(parameters):
        return None
    assert _shared is not None
    login, errors = _shared.read(), dialect.loaded_dbapi
    if login is None:
        raise errors.OperationalError('Vault has given no login yet: check VAULT_ADDR')
    redaction.add(login.password)
    record.info[USER] = login.user
    try:
        return dialect.connect(*arguments, **parameters, user=login.user, password=login.password)
    except errors.OperationalError as error:
        _note_refused(login, error)
        raise


def _is_vaults(parameters: dict[str, Any]) -> bool:
    """Return whether Vault gives the login of a database, and see that this process has one."""
    from be_queue.worker.settings import current

    config = _config or current()
    place = (parameters.get('host'), parameters.get('port'))
    if not (config.vault_addr and config.vault_db_role):
        return False
    if place != (config.result_db_host, config.result_db_port):
        return False
    if _shared is None:
        # A script, say, that reads results: nobody has started this process as one of the worker's.
        hold(config, wait=True)
    return True


def _note_refused(login: DatabaseLogin, error: Any) -> None:
    # Whatever language the server speaks: it has asked for the password.
    asked = error.pgconn is not None and error.pgconn.used_password
    if asked and not OTHER_FAULTS.search(str(error)) and _shared is not None:
        _shared.refuse(login)
