"""Keeps a login of the result database, and the token it hangs on, from ending."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from app import known_secrets
from app.config.configuration.sections import VaultSettings
from app.config.vault.client import Client
from app.config.vault.errors import AwayError, DeniedError, RefusedError, VaultError
from app.config.vault.login import WAYS, Token, login, token_of, way
from app.utils.vault.shared import SharedLogin
from be_queue.outage import Outage

__all__ = ['Holder', 'Lease', 'creds_path', 'new_lease']

logger = logging.getLogger(__name__)

#: The part of its life after which a token or a lease is prolonged or replaced.
USE_PART = 2 / 3
#: The part of its first life that it must get again; with less it is close to its last end.
WORTH_PART = 0.9
#: Seconds: the longest wait between two tries while Vault is away.
MAX_WAIT = 30.0
#: Seconds between two looks at whether the database has refused the login.
LOOK = 0.5
#: Seconds that a login is kept after it came, though the database refuses it: it may know it soon.
PATIENCE = 3.0
#: Seconds between two steps at least, however short the leases are.
FLOOR = 0.2
#: Seconds for the end, all in all.
END = 3.0


@dataclass(frozen=True)
class Lease:
    """A user of the database that Vault has made, for a time.

    Arguments:
        ttl: seconds that it lasts, from ``got_at`` by the monotonic clock.
        first_ttl: seconds that it got at first.
    """

    id: str
    ttl: float
    first_ttl: float
    renewable: bool
    got_at: float

    @property
    def ends_at(self) -> float:
        """When it ends, by the monotonic clock."""
        return self.got_at + self.ttl


class Holder:
    """Holds a token and a login in a thread of its own.

    Arguments:
        settings: where Vault is, and the role.
        shared: where the login goes.
        pid: the process that it belongs to.
    """

    def __init__(self, settings: VaultSettings, shared: SharedLogin, pid: int) -> None:
        self._settings = settings
        self._shared = shared
        self._pid = pid
        self._client = Client(settings)
        self._token: Token | None = None
        #: The latest lease, and those before it that have not ended.
        self._lease: Lease | None = None
        self._earlier: list[Lease] = []
        self._outage = Outage('Vault', MAX_WAIT)
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name='vault', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_tried(self, seconds: float) -> None:
        """Wait until there is a login, or there is none after a first try."""
        self._tried.wait(seconds)

    def stop(self) -> None:
        """End the thread, and give back what can be: it takes `END` seconds at most."""
        if self._pid != os.getpid():
            return
        self._stopping.set()
        began = time.monotonic()
        self._thread.join(END / 2)
        left = END - (time.monotonic() - began)
        try:
            self._give_back(Client(self._settings, patience=left))
        except VaultError as error:
            logger.info('logins of the result database end by themselves: %s', error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self._step()
                self._outage.ended()
            except VaultError as error:
                wait = self._failed(error)
            except Exception as error:  # noqa: BLE001  (the thread must go on)
                wait = self._failed(AwayError(f'no usable answer ({type(error).__name__})'))
            self._tried.set()
            self._sleep(wait)

    def _step(self) -> float:
        """Do what is due; return the seconds until something is."""
        now = time.monotonic()
        if self._token is None:
            self._log_in()
        elif _due_at(self._token.got_at, self._token.ttl) <= now:
            self._prolong_token(self._token)
        lease = self._lease
        if lease is None:
            self._replace_lease()
        elif self._must_replace():
            logger.warning('the result database refuses its login: asking Vault for another')
            self._replace_lease()
        elif _due_at(lease.got_at, lease.ttl) <= now:
            self._prolong_lease(lease)
        assert self._token is not None
        assert self._lease is not None
        due = min(_due_at(thing.got_at, thing.ttl) for thing in (self._token, self._lease))
        return max(FLOOR, due - time.monotonic())

    def _log_in(self) -> None:
        before, self._token = self._token, None
        token = login(self._client)
        if before is not None and before.text != token.text:
            # Vault ends a token's leases with it.
            self._retire()
        self._token = token

    def _prolong_token(self, token: Token) -> None:
        if token.renewable:
            with suppress(DeniedError, RefusedError):
                answer = self._client.ask('POST', 'auth/token/renew-self', token=token.text)
                longer = token_of(answer, own=token.own)
                if longer.text == token.text and longer.ttl >= WORTH_PART * token.ttl:
                    self._token = longer
                    return
        self._log_in()

    def _prolong_lease(self, lease: Lease) -> None:
        if lease.renewable and self._token:
            with suppress(DeniedError, RefusedError):
                body = {'lease_id': lease.id, 'increment': lease.first_ttl}
                answer = self._client.ask('POST', 'sys/leases/renew', body, token=self._token.text)
                ttl = float(answer.get('lease_duration') or 0)
                self._lease = lease = replace(lease, ttl=ttl, got_at=time.monotonic())
                if ttl >= WORTH_PART * lease.first_ttl:
                    return
        self._replace_lease()

    def _replace_lease(self) -> None:
        answer = self._ask('GET', creds_path(self._settings))
        lease, user, password = new_lease(answer, creds_path(self._settings))
        self._retire()
        self._lease = lease
        self._shared.write(user, password)
        logger.info('Vault gave a login for the result database: seconds=%.0f', lease.ttl)

    def _retire(self) -> None:
        # Not revoked: connections of the pool's processes may be in use until its end.
        now = time.monotonic()
        before = [*self._earlier, *([self._lease] if self._lease else [])]
        self._earlier = [lease for lease in before if lease.ends_at > now]
        self._lease = None

    def _must_replace(self) -> bool:
        lease = self._lease
        return (
            lease is not None
            and self._shared.is_refused
            and time.monotonic() - lease.got_at >= PATIENCE
        )

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask with the token; with another one when it is refused."""
        assert self._token is not None
        try:
            return self._client.ask(method, path, body, token=self._token.text)
        except DeniedError:
            before = self._token
            self._log_in()
            if self._token.text == before.text:
                raise
        return self._client.ask(method, path, body, token=self._token.text)

    def _failed(self, error: VaultError) -> float:
        if not self._outage.lasts:
            self._outage = Outage('Vault', MAX_WAIT, hint=self._hint())
        return self._outage.failed(error)

    def _hint(self) -> str:
        names = ['VAULT_ADDR', 'VAULT_DB_ROLE']
        with suppress(VaultError):
            names += [name.upper() for name in WAYS[way(self._settings)]]
        lease = self._lease or (self._earlier[-1] if self._earlier else None)
        left = lease.ends_at - time.monotonic() if lease else 0
        then = f'ends in {left:.0f} s' if left > 0 else 'is missing'
        return (
            f'{", ".join(names)}; the login of the result database {then}, and without one '
            'finished tasks wait for it'
        )

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopping.wait(min(LOOK, left)):
                return
            if self._must_replace() and not self._outage.lasts:
                return

    def _give_back(self, client: Client) -> None:
        token = self._token
        if token is None:
            return
        if token.own:
            # With all its leases.
            client.ask('POST', 'auth/token/revoke-self', token=token.text)
            return
        self._retire()
        for lease in self._earlier:
            client.ask('POST', 'sys/leases/revoke', {'lease_id': lease.id}, token=token.text)


def new_lease(answer: Mapping[str, Any], path: str) -> tuple[Lease, str, str]:
    """Return lease, user and password of an answer of the database engine.

    Raises `RefusedError` when it is none.
    """
    data = answer.get('data')
    user, password = (data.get(n) for n in ('username', 'password')) if data else (None, None)
    if not (isinstance(user, str) and isinstance(password, str) and answer.get('lease_id')):
        raise RefusedError(f'{path} gives no login with a lease: check VAULT_DB_ROLE')
    known_secrets.add(password)
    ttl = float(answer.get('lease_duration') or 0)
    lease = Lease(
        id=str(answer['lease_id']),
        ttl=ttl,
        first_ttl=ttl,
        renewable=bool(answer.get('renewable')),
        got_at=time.monotonic(),
    )
    return lease, user, password


def creds_path(settings: VaultSettings) -> str:
    """Return where Vault gives logins for the result database."""
    return f'{settings.vault_db_mount}/creds/{settings.vault_db_role}'


def _due_at(got_at: float, ttl: float) -> float:
    return got_at + USE_PART * ttl if ttl else float('inf')
