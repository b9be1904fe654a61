"""Obtains credentials of the result database from Vault, and keeps them from ending."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import hvac  # type: ignore[import-untyped]
from hvac import exceptions

from be_queue import SettingError
from be_queue.outage import Outage
from be_queue.worker import redaction
from be_queue.worker.vault.client import (
    ERRORS,
    REFUSALS,
    Session,
    UnavailableError,
    connect,
    explained,
)
from be_queue.worker.vault.login import Grant, log_in, log_out
from be_queue.worker.vault.settings import VaultSettings
from be_queue.worker.vault.shared_login import SharedLogin

__all__ = ['LeaseKeeper', 'try_role']

logger = logging.getLogger(__name__)

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
class _Login:
    """A token, and the leases that were obtained with it; the last is in use."""

    client: hvac.Client
    token: Grant
    leases: list[Grant] = field(default_factory=list)


class LeaseKeeper:
    """A thread that keeps a token and a login of the result database.

    Arguments:
        settings: where Vault is, and the role.
        shared: where the login goes.
    """

    def __init__(self, settings: VaultSettings, shared: SharedLogin) -> None:
        self._settings = settings
        self._shared = shared
        self._session = Session(settings)
        #: The one in use, after those whose tokens have not ended.
        self._logins: list[_Login] = []
        self._taken_at = 0.0
        self._refusals = 0
        self._outage = Outage('Vault', MAX_WAIT_SECONDS)
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name='vault', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_tried(self, seconds: float) -> None:
        """Wait until there is a login, or a first try has failed."""
        self._tried.wait(seconds)

    def stop(self) -> None:
        """End the thread and revoke what can be, within `STOP_SECONDS`."""
        self._stopping.set()
        self._session.end_within(STOP_SECONDS)
        self._thread.join(STOP_SECONDS / 2)
        for one in self._logins:
            try:
                self._revoke(one)
            except Exception as error:  # noqa: BLE001  (the next one is tried all the same)
                logger.info('logins of the result database end by themselves: %s', explained(error))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self._step()
                self._outage.ended()
            except Exception as error:  # noqa: BLE001  (the thread must go on)
                wait = self._failed(error)
            self._tried.set()
            self._sleep(wait)

    def _step(self) -> float:
        """Do what is due; return the seconds until something is."""
        if not self._logins:
            self._log_in()
        current = self._logins[-1]
        client, lease = current.client, current.leases[-1]
        if not current.token.keep(lambda: client.auth.token.renew_self()['auth']):
            self._log_in()
        elif self._must_replace():
            if not self._outage.lasts:
                logger.warning('the result database refuses its login, asking Vault for another')
            self._replace_lease()
            self._refusals += 1
        else:
            if lease.due_at <= time.monotonic() and not self._shared.is_refused:
                self._refusals = 0
            # A whole number: Vault refuses others.
            if not lease.keep(lambda: client.sys.renew_lease(lease.id, int(lease.first_ttl))):
                self._replace_lease()
        current = self._logins[-1]
        due_at = min(current.token.due_at, current.leases[-1].due_at)
        return max(STEP_SECONDS, due_at - time.monotonic())

    def _log_in(self) -> bool:
        """Obtain a token and a login of the database; return whether it is another token."""
        client = connect(self._settings, self._session)
        fresh = _Login(client, log_in(client, self._settings))
        if self._logins and self._logins[-1].token.id == fresh.token.id:
            self._logins[-1].token = fresh.token
            return False
        try:
            self._take_lease(fresh)
        except Exception:
            # Or every failed try leaves a token behind.
            with suppress(*ERRORS):
                log_out(client, self._settings)
            raise
        now = time.monotonic()
        # Earlier ones are not revoked: connections of running tasks may use them until their end.
        self._logins = [one for one in self._logins if one.token.ends_at > now] + [fresh]
        return True

    def _replace_lease(self) -> None:
        try:
            self._take_lease(self._logins[-1])
        except exceptions.Forbidden:
            # By a token that was revoked, perhaps.
            if not self._log_in():
                raise

    def _take_lease(self, one: _Login) -> None:
        settings = self._settings
        answer = one.client.secrets.database.generate_credentials(
            settings.vault_db_role, mount_point=settings.vault_db_mount
        )
        user, password = answer['data']['username'], answer['data']['password']
        redaction.add(password)
        lease = Grant(answer['lease_id'], float(answer['lease_duration']), answer['renewable'])
        one.leases = [each for each in one.leases if each.ends_at > lease.got_at] + [lease]
        self._taken_at = lease.got_at
        self._shared.write(user, password)
        logger.info('Vault gave a login for the result database: seconds=%.0f', lease.ttl)

    def _revoke(self, one: _Login) -> None:
        # A batch token cannot be revoked, and a policy may forbid it.
        with suppress(*REFUSALS):
            if log_out(one.client, self._settings):
                return
        for lease in one.leases:
            one.client.sys.revoke_lease(lease.id)

    def _must_replace(self) -> bool:
        """Return whether the database has refused the login for too long."""
        patience = REFUSED_SECONDS[min(self._refusals, len(REFUSED_SECONDS) - 1)]
        return self._shared.is_refused and time.monotonic() - self._taken_at >= patience

    def _failed(self, error: Exception) -> float:
        """Log the first failure in a row; return the seconds until the next try."""
        fault = error if isinstance(error, SettingError) else explained(error)
        if not self._outage.lasts:
            away = isinstance(fault, UnavailableError)
            self._outage = Outage(
                'Vault' if away else "Vault's login for the result database",
                MAX_WAIT_SECONDS,
                self._hint(),
            )
        return self._outage.failed(fault)

    def _hint(self) -> str:
        left = 0.0
        if self._logins:
            current = self._logins[-1]
            left = min(current.token.ends_at, current.leases[-1].ends_at) - time.monotonic()
        then = f'ends in {left:.0f} s' if left > 0 else 'is missing'
        return (
            'VAULT_ADDR, VAULT_DB_ROLE and the settings of the login; the login of the result '
            f'database {then}, and without one finished tasks wait for it'
        )

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
    role, mount = settings.vault_db_role, settings.vault_db_mount
    try:
        answer = client.secrets.database.generate_credentials(role, mount_point=mount)
        redaction.add(answer['data']['password'])
    except REFUSALS as error:
        hint = 'check VAULT_DB_MOUNT and the role'
        raise SettingError(f'VAULT_DB_ROLE={role}: {explained(error)}: {hint}') from None
    except exceptions.InternalServerError as error:
        logger.warning('VAULT_DB_ROLE=%s: Vault gives no login yet: %s', role, explained(error))
        return
    # Logging out would do, but for a token of our user's and for batch tokens.
    with suppress(*ERRORS):
        client.sys.revoke_lease(answer['lease_id'])
