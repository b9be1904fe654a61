"""A login of the result database that Vault has made, for a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import redaction
from app.config.configuration.sections import VaultSettings
from app.config.vault.answers import seconds
from app.config.vault.errors import RefusedError

__all__ = ['Lease', 'creds_path', 'new_lease']


@dataclass(frozen=True)
class Lease:
    """A user of the database.

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


def new_lease(answer: Mapping[str, Any], path: str) -> tuple[Lease, str, str]:
    """Return lease, user and password of an answer of the database engine.

    Raises `RefusedError` when it is none.
    """
    data = answer.get('data') or {}
    user, password = data.get('username'), data.get('password')
    if not (isinstance(user, str) and isinstance(password, str) and answer.get('lease_id')):
        raise RefusedError(f'{path} gives no login with a lease: check VAULT_DB_ROLE')
    redaction.add(password)
    ttl = seconds(answer.get('lease_duration'))
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
