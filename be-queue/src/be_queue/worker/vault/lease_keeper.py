"""Obtains credentials of the result database from Vault, and keeps them from ending."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hvac  # type: ignore[import-untyped]
from hvac import exceptions

from be_queue import SettingError
from be_queue.outage import Outage
from be_queue.worker import redaction
from be_queue.worker.vault.client import REFUSALS, Session, connect, explained
from be_queue.worker.vault.login import log_in, log_out
from be_queue.worker.vault.settings import VaultSettings
from be_queue.worker.vault.shared_login import SharedLogin

__all__ = ['LeaseKeeper', 'try_role']

logger = logging.getLogger(__name__)

#: The part of its life after which a token or a lease is renewed or replaced.
USE_PART = 2 / 3
#: The part of its first life that a renewal must give; with less it is close to its last end.
WORTH_PART = 0.9
#: Seconds from when a login came until another is asked for, which grow with each in a row that the
#: database refuses. It may learn of a user a moment after Vault; what the next login does not cure
#: is seldom a matter of logins, and each is one more user for its time.
REFUSED_SECONDS = (3.0, 60.0, 300.0)
#: Seconds: the longest wait between two tries while Vault is unavailable.
MAX_WAIT_SECONDS = 30.0
#: Seconds between two steps at least, and between two looks at whether the database refuses.
STEP_SECONDS = 0.2
LOOK_SECONDS = 0.5
#: Seconds for the end, all in all.
STOP_SECONDS = 3.0


@dataclass
class _Grant:
    """A token or a lease, which Vault grants for a time.

    Arguments:
        ttl: seconds that it lasts; 0 is for ever.
        renewable: whether Vault may prolong it.
    """

    ttl: float
    renewable: bool
    got_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.first_ttl = self.ttl

    def after(self, part: float) -> float:
        """Return when a part of its life is over, by the monotonic clock."""
        return self.got_at + part * self.ttl if self.ttl else math.inf

    def keep(self, renew: Callable[[], Mapping[str, Any]]) -> bool:
        """Renew it when that is due; return False when another must replace it."""
        if self.renewable and self.after(USE_PART) <= time.monotonic():
            try:
                self.ttl, self.got_at = float(renew()['lease_duration']), time.monotonic()
            except REFUSALS as error:
                logger.info('%s: another one is asked for', explained(error))
                self.renewable = False
        is_due = self.after(USE_PART) <= time.monotonic()
        return not is_due and self.ttl >= WORTH_PART * self.first_ttl


@dataclass
class _Login:
    """A login of the database, and the token that it was obtained with and ends with."""

    client: hvac.Client
    token: _Grant
    lease: _Grant
    lease_id: str

    def after(self, part: float) -> float:
        """Return when a part of the shorter life is over."""
        return min(self.token.after(part), self.lease.after(part))

    def keep(self) -> bool:
        """Renew what is due; return False when another login must replace this one."""
        seconds = int(self.lease.first_ttl)  # Vault refuses a fraction
        return self.token.keep(
            lambda: self.client.auth.token.renew_self()['auth']
        ) and self.lease.keep(lambda: self.client.sys.renew_lease(self.lease_id, seconds))


class LeaseKeeper(threading.Thread):
    """A thread that keeps a token and a login of the result database.

    Arguments:
        settings: where Vault is, and the role.
        shared: where the login goes.
    """

    def __init__(self, settings: VaultSettings, shared: SharedLogin) -> None:
        super().__init__(name='vault', daemon=True)
        self._settings = settings
        self._shared = shared
        self._session = Session(settings)
        #: The one in use, after those that have not ended: tasks may use their connections.
        self._logins: list[_Login] = []
        self._obtained_at = 0.0
        self._refusals = 0
        self._outage = Outage('Vault', MAX_WAIT_SECONDS)
        self._stopping = threading.Event()
        #: Set when there is a login, or a first try has failed.
        self.tried = threading.Event()

    def stop(self) -> None:
        """End the thread and revoke what can be, within `STOP_SECONDS`."""
        self._stopping.set()
        self._session.end_within(STOP_SECONDS)
        self.join(STOP_SECONDS / 2)
        for one in self._logins:
            try:
                if not log_out(one.client, self._settings):
                    one.client.sys.revoke_lease(one.lease_id)
            except Exception as error:  # noqa: BLE001  (the next one is tried all the same)
                logger.info('logins of the result database end by themselves: %s', explained(error))

    def run(self) -> None:
        """Keep a login until `stop`."""
        while not self._stopping.is_set():
            try:
                wait = self._step()
                self._outage.ended()
            except Exception as error:  # noqa: BLE001  (the thread must go on)
                wait = self._failed(explained(error))
            self.tried.set()
            self._sleep(wait)

    def _step(self) -> float:
        """Do what is due; return the seconds until something is."""
        if self._must_replace():
            if not self._outage.lasts:
                logger.warning('the result database refuses its login, asking Vault for another')
            self._obtain()
            self._refusals += 1
        else:
            if not self._shared.is_refused:
                self._refusals = 0
            if not (self._logins and self._logins[-1].keep()):
                self._obtain()
        return max(STEP_SECONDS, self._logins[-1].after(USE_PART) - time.monotonic())

    def _obtain(self) -> None:
        """Log in to Vault, and obtain a login of the database."""
        client = connect(self._settings, self._session)
        auth = log_in(client, self._settings)
        try:
            if not auth:
                with suppress(exceptions.Forbidden):  # by the policy
                    token = client.auth.token.lookup_self()['data']
                    auth = {'lease_duration': token['ttl'], 'renewable': token['renewable']}
            given = _generate(client, self._settings)
            login = _Login(
                client,
                _Grant(float(auth.get('lease_duration', 0)), auth.get('renewable', False)),
                _Grant(float(given['lease_duration']), given['renewable']),
                given['lease_id'],
            )
            self._shared.write(given['data']['username'], given['data']['password'])
        except Exception:
            # Or every failed try leaves a token behind.
            with suppress(Exception):
                log_out(client, self._settings)
            raise
        self._obtained_at = now = time.monotonic()
        logger.info('Vault gave a login for the result database: seconds=%.0f', login.lease.ttl)
        ended = [one for one in self._logins if one.after(1) <= now]
        self._logins = [one for one in self._logins if one not in ended] + [login]
        for one in ended:
            with suppress(Exception):
                log_out(one.client, self._settings)  # its token may last longer than its lease

    def _must_replace(self) -> bool:
        """Return whether the database has refused the login for too long."""
        patience = REFUSED_SECONDS[min(self._refusals, len(REFUSED_SECONDS) - 1)]
        return self._shared.is_refused and time.monotonic() - self._obtained_at >= patience

    def _failed(self, fault: Exception) -> float:
        """Log the first failure in a row; return the seconds until the next try."""
        left = self._logins[-1].after(1) - time.monotonic() if self._logins else 0
        then = f'ends in {left:.0f} s' if left > 0 else 'is missing'
        hint = (
            'VAULT_ADDR, VAULT_DB_ROLE and the settings of the login; the login of the result '
            f'database {then}, and without one finished tasks wait for it'
        )
        return self._outage.failed(fault, hint=hint)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopping.wait(min(LOOK_SECONDS, left)):
                return
            if self._must_replace() and not self._outage.lasts:
                return


def try_role(client: hvac.Client, settings: VaultSettings) -> None:
    """See that Vault gives a login for the result database; it is given back.

    While the database is unavailable there is a warning: the worker starts, and results wait.

    Raises `SettingError`.
    """
    role = settings.vault_db_role
    try:
        given = _generate(client, settings)
    except REFUSALS as error:
        hint = 'check VAULT_DB_MOUNT and the role'
        raise SettingError(f'VAULT_DB_ROLE={role}: {explained(error)}: {hint}') from None
    except exceptions.InternalServerError as error:
        logger.warning('VAULT_DB_ROLE=%s: Vault gives no login yet: %s', role, explained(error))
        return
    # Logging out would do, but for a token of our user's and for batch tokens.
    with suppress(Exception):
        client.sys.revoke_lease(given['lease_id'])


def _generate(client: hvac.Client, settings: VaultSettings) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = client.secrets.database.generate_credentials(
        settings.vault_db_role, mount_point=settings.vault_db_mount
    )
    redaction.add(answer['data']['password'])
    return answer
