"""Takes passwords out of settings before anybody sees them.

The time that it takes grows with a text's length and no faster: what is logged may be a stranger's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ['MASK', 'names_secret', 'redact', 'redact_text']

MASK = '***'
_SECRET_NAME = re.compile(
    # And no passengers.
    'pass(?:w|phrase|code|(?![a-z]))|pwd|secret|token|credential|authorization|cookie'
    '|(?:access|account|api|private)[_-]?key',
    re.IGNORECASE,
)
# From the first URL that has a ':' after its host or user.
_URL_PASSWORD = re.compile(r'(\w://[^:/]*:).*', re.DOTALL)


def names_secret(name: str) -> bool:
    """Return whether what has such a name is a secret."""
    return _SECRET_NAME.search(name) is not None


def redact(value: Any, key: str = '') -> Any:
    """Return ``value`` with every password replaced by ``***``.

    Masked are the passwords in URLs and each text or number under a key that names a secret, at
    any depth of dicts, lists, tuples and sets: of that key too.
    """
    if isinstance(value, Mapping):
        outer = key if names_secret(key) else ''
        return {name: redact(inner, outer or str(name)) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(inner, key) for inner in value]
    # Switches say nothing, and an absent or empty secret is worth seeing.
    if value and not isinstance(value, bool) and names_secret(key):
        return MASK
    if isinstance(value, str):
        return _without_query_secrets(_without_url_password(value))
    return value


def redact_text(text: str, key: str = '') -> str:
    """Return ``text`` for an error message: masked whole where it seems to hold a secret.

    For what should have been a dict or a list, and cannot be taken apart since it is not.
    """
    return MASK if names_secret(text) else str(redact(text, key))


def _without_url_password(text: str) -> str:
    # To the last '@', over whatever lies between: SQLAlchemy takes passwords that hold '/', '?',
    # '#', ':' or blanks as they are. Of two URLs in one text, this hides the first one's host as
    # well. An expression that looks for the '@' itself would do so once for each URL.
    head, at, tail = text.rpartition('@')
    return _URL_PASSWORD.sub(rf'\1{MASK}', head) + at + tail


def _without_query_secrets(text: str) -> str:
    if '=' not in text or not names_secret(text):
        return text
    first, *others = text.split('&')
    return '&'.join((_masked(first, False), *(_masked(part, True) for part in others)))


def _masked(part: str, after_and: bool) -> str:
    """Return a part of a query, from one ``&`` to the next, without the value of a secret.

    Arguments:
        after_and: whether there is a ``&`` before: it, or a ``?``, begins a parameter's name.
    """
    begin = 0
    while (end := part.find('=', begin)) >= 0:
        name = begin if after_and else part.find('?', begin, end)
        if name >= 0 and _SECRET_NAME.search(part, name, end):
            return f'{part[: end + 1]}{MASK}'
        begin, after_and = end + 1, False
    return part
