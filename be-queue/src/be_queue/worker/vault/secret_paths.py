"""Which settings come from which secrets: VAULT_SECRETS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

__all__ = ['Secret', 'names', 'parse']


class Secret(NamedTuple):
    """A field of a secret.

    Arguments:
        path: below the mount of the KV engine.
        field: the key in the secret's data.
    """

    path: str
    field: str

    def __str__(self) -> str:
        return f'{self.path}#{self.field}'


@cache
def parse(text: str) -> Mapping[str, Secret]:
    """Return the secret of each setting, by the setting's name in lower case.

    Raises `ValueError` with what must be written instead.
    """
    found: dict[str, Secret] = {}
    for entry in filter(None, (part.strip() for part in text.split(','))):
        name, _, place = entry.partition('=')
        path, _, field = place.rpartition('#')
        name, path, field = name.strip().lower(), path.strip().strip('/'), field.strip()
        if not (name and path and field):
            raise ValueError(
                f'NAME=path#field, separated by commas, and {entry!r} is not: for example '
                'RESULT_DB_PASS=worker/db#password'
            )
        if name in found:
            raise ValueError(f'without two entries for {name.upper()}')
        found[name] = Secret(path, field)
    return found


def names(text: str) -> frozenset[str]:
    """Return the names of the settings, in lower case; none when the text cannot be read."""
    try:
        return frozenset(parse(text))
    except ValueError:
        return frozenset()
