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
from be_queue.worker.role import Role
from be_queue.worker.vault.shared_login import SharedLogin

if TYPE_CHECKING:
    from be_queue.worker.settings import Settings
    from be_queue.worker.vault.lease_keeper import LeaseKeeper

__all__ = ['listen', 'outdated', 'start', 'stop']

#: Faults that another login does not fix, of a server that has accepted the password: libpq gives
#: no SQLSTATE at a connect. In another language they count as a refused login.
OTHER_FAULTS = re.compile('database ".*" does not exist|connection slots|too many connections')
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


def start(config: Settings, role: Role) -> None:
    """Hold credentials of the result database in this process, if Vault gives them."""
    # The processes of the pool use those of their parent, and store results at once.
    if config.has_database_login and role is not Role.POOL:
        _hold(config, wait=role is Role.CONSUMER)


def stop() -> None:
    """Give the credentials back, within a bounded time."""
    global _keeper
    keeper, _keeper = _keeper, None
    if keeper is not None:
        keeper.stop()


def _hold(config: Settings, *, wait: bool) -> SharedLogin:
    """Keep a valid login from now on, for this process and for its forks.

    Arguments:
        wait: until there is one or a first try has failed, ``VAULT_TIMEOUT`` seconds at most.
    """
    global _config, _shared, _keeper
    listen()
    with _lock:
        if _shared is None:
            from be_queue.worker.vault.lease_keeper import LeaseKeeper  # it loads hvac

            _config, _shared = config, SharedLogin()
            _keeper = LeaseKeeper(config, _shared)
            _keeper.start()
        shared, keeper = _shared, _keeper
    if wait and keeper is not None:
        keeper.tried.wait(config.vault_timeout)
    return shared


def _forget_keeper() -> None:
    global _keeper
    _keeper = None


# The parent of a forked process keeps and revokes the login.
os.register_at_fork(after_in_child=_forget_keeper)


def outdated(connection: Any) -> bool:
    """Return whether a connection was made with an earlier login of Vault's, which soon ends."""
    user = connection.info.get(USER)
    login = _shared.read() if user is not None and _shared is not None else None
    return login is not None and user != login.user


def _check_out(connection: Any, record: Any, proxy: Any) -> None:
    if outdated(record):
        from sqlalchemy.exc import DisconnectionError

        raise DisconnectionError  # the pool makes a new connection in its place


def _connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
    """Return a new connection with the latest login; None for a database that has another."""
    from be_queue.worker.settings import current

    config = _config or current()
    place = (parameters.get('host'), parameters.get('port'))
    is_results = place == (config.result_db_host, config.result_db_port)
    if not config.has_database_login or 'user' in parameters or not is_results:
        return None
    # A script, say, that reads results: nobody has started this process as one of the worker's.
    shared = _shared or _hold(config, wait=True)
    login, errors = shared.read(), dialect.loaded_dbapi
    if login is None:
        raise errors.OperationalError('Vault has given no login yet: check VAULT_ADDR')
    redaction.add(login.password)
    record.info[USER] = login.user
    try:
        return dialect.connect(*arguments, **parameters, user=login.user, password=login.password)
    except errors.OperationalError as error:
        asked = error.pgconn is not None and error.pgconn.used_password
        if asked and not OTHER_FAULTS.search(str(error)):
            shared.refuse(login)
        raise
