"""What JSON can hold of a field's value: without secrets, and no more than a line has room for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from app.known_secrets import redacted
from app.utils.long_text import MAX_TEXT, shortened
from be_queue.redact import MASK, names_secret

__all__ = ['MAX_PARTS', 'Room', 'shown']

#: Levels of dicts and lists within a field.
MAX_DEPTH = 6
#: Values in all dicts and lists of a field, and fields of a line.
MAX_PARTS = 1000
#: Characters of all fields of a line.
MAX_FIELDS = 4 * MAX_TEXT
_LEFT_OUT = '...'


class Room:
    """What is left of a line for fields."""

    __slots__ = ('_line', '_parts', '_text')

    def __init__(self) -> None:
        self._line = MAX_FIELDS
        self._text = self._parts = 0

    def field(self, value: Any, name: str) -> Any:
        """Return what a line says of a field; it takes its part of the room."""
        most = self._text = min(MAX_TEXT, self._line)
        self._parts = MAX_PARTS
        plain = self._plain(value, name, 0)
        self._line -= most - self._text
        return plain

    def _plain(self, value: Any, key: str, depth: int) -> Any:
        try:
            if value is None or isinstance(value, bool):
                return value
            if key and names_secret(key):
                return MASK
            if isinstance(value, str):
                return self._taken(value)
            if isinstance(value, (int, float)):
                return self._number(value)
            if isinstance(value, Mapping):
                return self._dict(value, depth)
            if isinstance(value, (list, tuple, set, frozenset)):
                return self._list(value, key, depth)
            if isinstance(value, date):
                return value.isoformat()
            return self._taken(shown(value))
        except Exception as error:  # noqa: BLE001  (an object's own methods may raise anything)
            return _without_text(value, error)

    def _taken(self, text: str) -> str:
        if self._text <= 0:
            return _LEFT_OUT
        text = shortened(redacted(text), self._text)
        self._text -= len(text)
        return text

    def _number(self, value: float) -> Any:
        text = repr(value)
        self._text -= len(text)
        finite = isinstance(value, int) or math.isfinite(value)
        return value if finite and redacted(text) == text else redacted(text)

    def _dict(self, value: Mapping[Any, Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return _summary(value)
        found: dict[str, Any] = {}
        for name, inner in value.items():
            if not self._has_another():
                found[_LEFT_OUT] = _LEFT_OUT
                break
            key = shown(name)
            found[self._taken(key)] = self._plain(inner, key, depth + 1)
        return found

    def _list(self, value: Iterable[Any], key: str, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return _summary(value)
        found: list[Any] = []
        for inner in value:
            if not self._has_another():
                found.append(_LEFT_OUT)
                break
            found.append(self._plain(inner, key, depth + 1))
        return found

    def _has_another(self) -> bool:
        self._parts -= 1
        return self._parts >= 0 and self._text > 0


def shown(value: object) -> str:
    """Return an object as a text, whatever its methods do."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  (an object's own __str__ may raise anything)
        return _without_text(value, error)


def _without_text(value: object, error: Exception) -> str:
    return f'<{type(value).__name__} without a text: {type(error).__name__}>'


def _summary(value: Any) -> str:
    # Its own text has no bound, and names of secrets in it would not be seen.
    return f'<{type(value).__name__} of {len(value)}>'
