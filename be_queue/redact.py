"""Takes passwords out of settings before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ['redact', 'redact_text']

MASK = '***'
_SECRET_WORDS = r'pass|pwd|secret|token|credential|(?:access|account|api|private)_?key'
_SECRET_KEY = re.compile(_SECRET_WORDS, re.IGNORECASE)
# To the last '@', over whatever lies between: SQLAlchemy takes passwords that hold '/', '?', '#',
# ':' or blanks as they are. Of two URLs in one text, this hides the first one's host as well.
_URL_PASSWORD = re.compile(r'(\w://[^:/]*:).*(?=@)', re.DOTALL)
_QUERY_SECRET = re.compile(rf'([?&][^=&]*(?:{_SECRET_WORDS})[^=&]*=)[^&]*', re.IGNORECASE)


def redact(value: Any, key: str = '') -> Any:
    """Return ``value`` with every password replaced by ``***``.

    Masked are the passwords in URLs and each text or number under a key that names a secret, at
    any depth of dicts, lists, tuples and sets.
    """
    if isinstance(value, Mapping):
        return {name: redact(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(inner, key) for inner in value]
    # Switches say nothing, and an absent or empty secret is worth seeing.
    if value and not isinstance(value, bool) and _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, str):
        return _QUERY_SECRET.sub(rf'\1{MASK}', _URL_PASSWORD.sub(rf'\1{MASK}', value))
    return value


def redact_text(text: str, key: str = '') -> str:
    """Return ``text`` for an error message: masked whole where it seems to hold a secret.

    For what should have been a dict or a list, and cannot be taken apart since it is not.
    """
    return MASK if _SECRET_KEY.search(text) else str(redact(text, key))
