"""The login of the result database, in memory that a process shares with those forked from it."""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from dataclasses import dataclass, field

__all__ = ['DatabaseLogin', 'SharedLogin']

#: Bytes of one of the two places; PostgreSQL's names have 63, and passwords are short.
PLACE = 2048
#: The number of the login, its length and its checksum, before it.
HEAD = struct.Struct('=QLL')
#: The number of the latest login, and that of the latest which the database has refused.
NUMBER = struct.Struct('=Q')
LATEST, REFUSED, PLACES = 0, 8, 16
#: Where the database's words are, after the two places; they are cut to fit.
WORDS = PLACES + 2 * PLACE
WORDS_SIZE = 512
#: Tries to read a login; a second one is needed only while the login changes.
READS = 100


@dataclass(frozen=True)
class DatabaseLogin:
    """A user of the database, for a time.

    Arguments:
        number: 1 for the first, and one more for each that follows.
    """

    number: int
    user: str
    password: str = field(repr=False)


class SharedLogin:
    """One process writes a login, any number read it; nobody waits for anybody.

    A login is written into the place that nobody reads, and then its number. A reader that falls
    so far behind that its place is being written again sees it by the checksum.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, WORDS + WORDS_SIZE)

    def write(self, user: str, password: str) -> DatabaseLogin:
        """Make this the latest login. For one thread of one process."""
        number = self._number(LATEST) + 1
        text = json.dumps([user, password]).encode()
        if len(text) > PLACE - HEAD.size:
            raise ValueError(f'a login of {len(text)} bytes: {PLACE - HEAD.size} are the most')
        self._put(PLACES + number % 2 * PLACE, number, text)
        NUMBER.pack_into(self._memory, LATEST, number)
        return DatabaseLogin(number, user, password)

    def read(self) -> DatabaseLogin | None:
        """Return the latest login; None before the first."""
        for _ in range(READS):
            number = self._number(LATEST)
            if not number:
                break
            text = self._get(PLACES + number % 2 * PLACE, PLACE, number)
            if text is not None:
                user, password = json.loads(text)
                return DatabaseLogin(number, user, password)
        return None

    def refuse(self, login: DatabaseLogin, words: str = '') -> None:
        """Note that the database does not take ``login``, and what it says to that."""
        text = words.encode()[: WORDS_SIZE - HEAD.size]
        self._put(WORDS, login.number, text)
        NUMBER.pack_into(self._memory, REFUSED, login.number)

    @property
    def is_refused(self) -> bool:
        """Whether the database does not take the latest login."""
        return self._number(REFUSED) == self._number(LATEST) > 0

    @property
    def words(self) -> str:
        """What the database said to the latest login; '' when two processes wrote at once."""
        text = self._get(WORDS, WORDS_SIZE, self._number(LATEST))
        return text.decode('utf-8', 'ignore') if text else ''

    def _put(self, start: int, number: int, text: bytes) -> None:
        content = HEAD.pack(number, len(text), _checksum(number, text)) + text
        self._memory[start : start + len(content)] = content

    def _get(self, start: int, size: int, number: int) -> bytes | None:
        place = self._memory[start : start + size]
        found, length, checksum = HEAD.unpack_from(place)
        text = place[HEAD.size : HEAD.size + length]
        return text if found == number and checksum == _checksum(number, text) else None

    def _number(self, place: int) -> int:
        number: int = NUMBER.unpack_from(self._memory, place)[0]
        return number


def _checksum(number: int, text: bytes) -> int:
    return zlib.crc32(text, number & 0xFFFFFFFF)
