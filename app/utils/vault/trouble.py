"""Failures in a row of what keeps the login: when to try again, and a log line for each change."""

from __future__ import annotations

import logging
import random

from app.config.vault.errors import (
    AwayError,
    DeniedError,
    FailingError,
    LoginError,
    VaultError,
)
from be_queue.outage import FIRST_WAIT, Outage

__all__ = ['Trouble']

logger = logging.getLogger(__name__)

#: Seconds: the longest wait between two tries.
MAX_WAIT = 30.0


class Trouble:
    """Vault is away, or it is there and gives no login."""

    def __init__(self) -> None:
        self._outage = Outage('Vault', MAX_WAIT)
        self._refusals = 0

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._outage.lasts or self._refusals > 0

    def failed(self, error: VaultError, hint: str) -> float:
        """Count a failure; return the seconds to wait before the next try.

        Arguments:
            hint: what to check, and what follows from it.
        """
        if isinstance(error, AwayError) and not isinstance(error, FailingError):
            if not self._outage.lasts:
                self._outage = Outage('Vault', MAX_WAIT, hint=hint)
            return self._outage.failed(error)
        self._outage.ended()
        if not self._refusals:
            # The text of a refused login names its path.
            path = f'{error.path}: ' if error.path and not isinstance(error, LoginError) else ''
            logger.warning(
                'Vault gives no login for the result database, trying until it does: '
                '%s%s: check %s%s',
                path,
                error,
                'the policy of the login, ' if isinstance(error, DeniedError) else '',
                hint,
            )
        self._refusals += 1
        return random.uniform(0, min(MAX_WAIT, FIRST_WAIT * 2 ** min(self._refusals - 1, 10)))

    def ended(self) -> None:
        """Say so if there was trouble."""
        self._outage.ended()
        if self._refusals:
            logger.warning(
                'Vault gives logins for the result database again: failures=%d', self._refusals
            )
            self._refusals = 0
