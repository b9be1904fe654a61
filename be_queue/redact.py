"""Takes passwords out of settings before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ['redact']

MASK = '***'
_SECRET_KEY = re.compile(r'pass|secret|token|credential|access_?key', re.IGNORECASE)
# From the scheme to the last '@' before the path: a password may itself hold '@' or ':'.
_URL_PASSWORD = re.compile(r'(\w://[^:/?#\s]*:)[^/?#\s]*(?=@)')
_QUERY_SECRET = re.compile(r'([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&\s]*', re.IGNORECASE)


def redact(value: Any, key: str = '') -> Any:
    """Return ``value`` with every password replaced by ``***``.

    Masked are the passwords in URLs and whatever stands under a key that names a secret, at any
    depth of dicts, lists, tuples and sets.
    """
    if isinstance(value, Mapping):
        return {name: redact(inner, str(name)) for name, inner in value.items()}
    if value and isinstance(value, (str, bytes)) and _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, str):
        return _QUERY_SECRET.sub(rf'\1{MASK}', _URL_PASSWORD.sub(rf'\1{MASK}', value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(inner, key) for inner in value]
    return value
