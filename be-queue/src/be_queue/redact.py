"""Masks passwords in settings and texts.

Takes time in proportion to the length of a text, which may be a stranger's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ['MASK', 'names_secret', 'redact', 'redact_repr', 'redact_text']

MASK = '***'
_SECRET_NAME = re.compile(
    # Not 'passengers'.
    'pass(?:w|phrase|code|(?![a-z]))|pwd|secret|token|credential|authorization|cookie'
    '|(?:access|account|api|private)[_-]?key',
    re.IGNORECASE,
)
# All from the first URL that has a ':' after its host or user.
_URL_PASSWORD = re.compile(r'(\w://[^:/]*:).*', re.DOTALL)
_QUERY_NAME = re.compile('[?&]([^?&=]*)=')


def names_secret(name: str) -> bool:
    """Return whether the value of such a name is a secret."""
    return _SECRET_NAME.search(name) is not None


def without_passwords(value: Any) -> Any:
    """Mask the passwords in a text's URLs and their queries; return other values as they are."""
    if not isinstance(value, str):
        return value
    # Everything up to the last '@', with the hosts of all URLs but the last: SQLAlchemy takes
    # passwords with '/', '?', '#', ':' or blanks as they are.
    head, at, tail = value.rpartition('@')
    return _without_query_secrets(_URL_PASSWORD.sub(rf'\1{MASK}', head) + at + tail)


def redact(value: Any, key: str = '', leaf: Callable[[Any], Any] = without_passwords) -> Any:
    """Return ``value`` with every password replaced by ``***``.

    Everything under a key that names a secret is masked, at any depth of dicts, lists, tuples and
    sets, and under ``key``. Booleans and empty values are shown. ``leaf`` is applied to every other
    value, and to the keys.
    """
    if value and not isinstance(value, bool) and names_secret(key):
        return MASK
    if isinstance(value, Mapping):
        return {leaf(name): redact(inner, str(name), leaf) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(inner, leaf=leaf) for inner in value]
    return leaf(value)


def redact_text(text: str, key: str = '') -> str:
    """Return a text for an error message, masked as a whole if it seems to hold a secret.

    For texts that should have been a dict or a list, and cannot be parsed.
    """
    return MASK if names_secret(text) else str(redact(text, key))


def redact_repr(text: str) -> str:
    """Return Celery's representation of arguments with the secrets in it masked.

    When it names a secret and cannot be parsed, as when it was truncated, all of it is masked.
    """
    if not names_secret(text):
        return str(redact(text))
    try:
        return repr(redact(ast.literal_eval(text)))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return MASK


def _without_query_secrets(text: str) -> str:
    parts, position = [], 0
    for name in _QUERY_NAME.finditer(text):
        if name.start() >= position and names_secret(name[1]):
            parts += [text[position : name.end()], MASK]
            end = text.find('&', name.end())
            position = len(text) if end < 0 else end
    return ''.join(parts) + text[position:]
