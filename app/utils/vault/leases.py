"""Keeps a login of the result database, and the token it hangs on, from ending."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.config.vault.client import Client
from app.config.vault.errors import (
    DeniedError,
    FailingError,
    MissingError,
    RefusedError,
    VaultError,
)
from app.config.vault.login import Token, login, token_of
from app.utils.vault.lease import Lease, creds_path, new_lease
from app.utils.vault.patience import Patience
from app.utils.vault.shared import SharedLogin

__all__ = ['Leases']

logger = logging.getLogger(__name__)

#: The part of its life after which a token or a lease is prolonged or replaced.
USE_PART = 2 / 3
#: The part of its first life that it must get again; with less it is close to its last end.
WORTH_PART = 0.9
#: Seconds between two steps at least, however short the leases are.
FLOOR = 0.2
#: Vault is there, and does not do what we ask of it.
NO = (DeniedError, MissingError, RefusedError)


class Leases:
    """A token and the leases that hang on it.

    Arguments:
        client: asks Vault.
        shared: where the login goes.
    """

    def __init__(self, client: Client, shared: SharedLogin) -> None:
        self._client = client
        self._shared = shared
        self._path = creds_path(client.settings)
        self._token: Token | None = None
        #: The latest lease, and those before it that have not ended.
        self._lease: Lease | None = None
        self._earlier: list[Lease] = []
        self._patience = Patience()
        #: That of which the log has said that the database refuses it.
        self._told_refused: Lease | None = None
        #: Why what is refused again and again was refused last, by its path.
        self._told: dict[str, str] = {}

    @property
    def ends_at(self) -> float:
        """When the login ends, by the monotonic clock: with its token, if that is earlier."""
        if self._lease is not None and self._token is not None:
            return min(self._lease.ends_at, self._token.ends_at)
        return self._earlier[-1].ends_at if self._earlier else 0.0

    def step(self) -> float:
        """Do what is due; return the seconds until something is. Raises `VaultError`."""
        now = time.monotonic()
        if self._token is None:
            self._use(login(self._client))
        elif _due_at(self._token.got_at, self._token.ttl) <= now:
            self._prolong_token(self._token)
        lease = self._lease
        if lease is None:
            self._replace_lease()
        elif self.must_replace():
            self._say_refused(lease)
            self._replace_lease()
            self._patience.refused()
        elif _due_at(lease.got_at, lease.ttl) <= now:
            if not self._shared.is_refused:
                self._patience.lasted()
            self._prolong_lease(lease)
        assert self._token is not None
        assert self._lease is not None
        due = min(_due_at(thing.got_at, thing.ttl) for thing in (self._token, self._lease))
        return max(FLOOR, due - time.monotonic())

    def must_replace(self) -> bool:
        """Return whether the database has refused the login for too long."""
        lease = self._lease
        return (
            lease is not None
            and self._shared.is_refused
            and time.monotonic() - lease.got_at >= self._patience.seconds
        )

    def give_back(self, client: Client) -> None:
        """End what can be ended.

        Raises `VaultError` when something cannot.
        """
        token = self._token
        if token is None:
            return
        if token.own:
            # With all its leases. A batch token cannot be, and a policy may not allow it.
            with suppress(*NO):
                client.ask('POST', 'auth/token/revoke-self', token=token.text)
                return
        self._retire()
        refused: VaultError | None = None
        for lease in self._earlier:
            try:
                client.ask('POST', 'sys/leases/revoke', {'lease_id': lease.id}, token=token.text)
            except (*NO, FailingError) as error:
                refused = error
        if refused is not None:
            raise refused

    def _use(self, token: Token) -> None:
        before, self._token = self._token, token
        if before is None or before.text == token.text:
            return
        lease = self._lease
        if lease is not None and before.ends_at < lease.ends_at:
            # Vault ends a token's leases with it.
            self._lease = replace(lease, ttl=before.ends_at - lease.got_at)
        self._retire()

    def _prolong_token(self, token: Token) -> None:
        path = 'auth/token/renew-self'
        if token.renewable:
            try:
                longer = token_of(self._client.ask('POST', path, token=token.text), own=token.own)
            except NO as error:
                self._say_no(path, error)
            else:
                self._told.pop(path, None)
                if longer.text == token.text and longer.ttl >= WORTH_PART * token.ttl:
                    self._token = longer
                    return
        # Until there is another, this one stays: its lease ends with it.
        self._use(login(self._client))

    def _prolong_lease(self, lease: Lease) -> None:
        path = 'sys/leases/renew'
        if lease.renewable and self._token:
            # A whole number: Vault refuses others.
            body = {'lease_id': lease.id, 'increment': int(lease.first_ttl)}
            try:
                answer = self._client.ask('POST', path, body, token=self._token.text)
            except NO as error:
                self._say_no(path, error)
            else:
                self._told.pop(path, None)
                ttl = float(answer.get('lease_duration') or 0)
                self._lease = replace(lease, ttl=ttl, got_at=time.monotonic())
                if ttl >= WORTH_PART * lease.first_ttl:
                    return
        self._replace_lease()

    def _replace_lease(self) -> None:
        lease, user, password = new_lease(self._read_creds(), self._path)
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

    def _read_creds(self) -> Mapping[str, Any]:
        """Ask with the token; with another one when it is refused, if that helps."""
        assert self._token is not None
        try:
            return self._client.ask('GET', self._path, token=self._token.text)
        except DeniedError:
            fresh = login(self._client)
            if fresh.text == self._token.text:
                raise
        try:
            answer = self._client.ask('GET', self._path, token=fresh.text)
        except VaultError:
            # Else each try leaves one more that lives on.
            if fresh.own:
                with suppress(VaultError):
                    self._client.ask('POST', 'auth/token/revoke-self', token=fresh.text)
            raise
        self._use(fresh)
        return answer

    def _say_refused(self, lease: Lease) -> None:
        # Not at each try of those that fail.
        if self._told_refused is not lease:
            self._told_refused = lease
            logger.warning(
                'the result database refuses its login, asking Vault for another: %s',
                self._shared.words,
            )

    def _say_no(self, path: str, error: VaultError) -> None:
        if self._told.get(path) != str(error):
            self._told[path] = str(error)
            logger.info('Vault does not prolong by %s, so another is asked for: %s', path, error)


def _due_at(got_at: float, ttl: float) -> float:
    return got_at + USE_PART * ttl if ttl else float('inf')
