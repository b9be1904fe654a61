"""How long a login is kept though the database refuses it."""

from __future__ import annotations

__all__ = ['STEPS', 'Patience']

#: Seconds: the database may learn of a user a moment after Vault. What also the next login does
#: not mend is seldom a matter of logins, and each that is asked for is one more user for its time.
STEPS = (3.0, 60.0, 300.0)


class Patience:
    """Grows with each login that was refused, until one has lasted."""

    def __init__(self) -> None:
        self._refused = 0

    @property
    def seconds(self) -> float:
        """From when a login came, until another is asked for."""
        return STEPS[min(self._refused, len(STEPS) - 1)]

    def refused(self) -> None:
        """Count a login that was replaced since the database refused it."""
        self._refused += 1

    def lasted(self) -> None:
        """Note that a login is due to be prolonged or replaced, and was not refused until now."""
        self._refused = 0
