"""Values of a label that all processes agree on: the first so many that any of them has met."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

__all__ = ['SharedNames']

#: Between two names in the file; no class of Python's has it in its name.
_END = b'\0'


class SharedNames:
    """The names that came first, in a file that only grows: who is in stays in, and nobody else.

    Processes of a worker come and go. Were each to choose for itself, their choices together would
    be ever more series.

    Arguments:
        path: the file; it is made with the first name.
        most: how many names there may be.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        # Names in the file, as far as this process has read it.
        self._known: frozenset[bytes] = frozenset()

    def admits(self, name: str) -> bool:
        """Return whether a name is one of the first; it becomes one while there is room."""
        entry = name.encode(errors='replace')
        if entry not in self._known and len(self._known) < self._most:
            try:
                self._known = self._with(entry)
            except OSError:  # without room on the disk, say: the name may come in later
                return False
        return entry in self._known

    def _with(self, entry: bytes) -> frozenset[bytes]:
        """Return the names in the file; ``entry`` is added to them if it finds room.

        Without a lock, which a killed process might keep: what several append at once has an order
        all the same, and the first count.
        """
        with self._path.open('a+b', buffering=0) as file:
            known = self._read(file)
            if entry not in known and len(known) < self._most:
                file.write(entry + _END)
                known = self._read(file)
        return known

    def _read(self, file: FileIO) -> frozenset[bytes]:
        file.seek(0)
        names = dict.fromkeys(file.read().split(_END)[:-1])
        return frozenset(list(names)[: self._most])
