"""The login of the result database, in memory that a process shares with those forked from it."""

from __future__ import annotations

import json
import mmap
import struct
from typing import NamedTuple

__all__ = ['DatabaseLogin', 'SharedLogin']

#: Bytes for one login; PostgreSQL's names have 63, and passwords are short.
SLOT_SIZE = 2048
#: The number of the latest login, and of the latest that the database has refused.
NUMBER = struct.Struct('=Q')
LATEST, REFUSED, SLOTS = 0, 8, 16


class DatabaseLogin(NamedTuple):
    """A user of the database; ``number`` is 1 for the first, and one more for each that follows."""

    number: int
    user: str
    password: str

    def __repr__(self) -> str:
        return f'DatabaseLogin({self.number}, {self.user!r}, ***)'


class SharedLogin:
    """One process writes logins, any number of processes read them; none waits for another.

    There are two slots, so that the latest login is never the one that is being written.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS + 2 * SLOT_SIZE)

    def write(self, user: str, password: str) -> None:
        """Make this the latest login. For one thread of one process."""
        text = json.dumps([user, password]).encode()
        if len(text) > SLOT_SIZE:
            raise ValueError(f'a login of {len(text)} bytes: {SLOT_SIZE} are the most')
        number = self._number(LATEST) + 1
        start = SLOTS + number % 2 * SLOT_SIZE
        self._memory[start : start + SLOT_SIZE] = text.ljust(SLOT_SIZE)
        NUMBER.pack_into(self._memory, LATEST, number)

    def read(self) -> DatabaseLogin | None:
        """Return the latest login; None before the first."""
        number = self._number(LATEST)
        if not number:
            return None
        start = SLOTS + number % 2 * SLOT_SIZE
        user, password = json.loads(self._memory[start : start + SLOT_SIZE])
        return DatabaseLogin(number, user, password)

    def refuse(self, login: DatabaseLogin) -> None:
        """Note that the database does not take a login."""
        NUMBER.pack_into(self._memory, REFUSED, login.number)

    @property
    def is_refused(self) -> bool:
        """Whether the database does not take the latest login."""
        return self._number(REFUSED) == self._number(LATEST) > 0

    def _number(self, place: int) -> int:
        number: int = NUMBER.unpack_from(self._memory, place)[0]
        return number
