"""Checks an event where it is logged, whether or not event logs are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]

from be_queue.worker.settings.setting_types import TD_NAME, TD_NAME_RULE

__all__ = ['MAX_FIELDS', 'check']

#: ``time`` is the event's own, which fluent-plugin-td writes over a field of that name; ``v`` is
#: a Hive column in tables that were made before August 2025 (td-client-ruby, change 156).
RESERVED = frozenset({'time', 'v'})
#: fluent-plugin-td discards records of more than 512 fields, ``time`` included.
MAX_FIELDS = 511


def check(table: str, fields: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError for an event that Treasure Data would not take.

    The error names the table or the field, never a value.
    """
    if not isinstance(table, str) or not TD_NAME.fullmatch(table):
        raise ValueError(f'table {table!r}: must be {TD_NAME_RULE}')
    if not isinstance(fields, Mapping):
        raise TypeError(f'an event is a {type(fields).__name__}: must be a dict of its fields')
    if len(fields) > MAX_FIELDS:
        raise ValueError(f'an event has {len(fields)} fields: at most {MAX_FIELDS} are taken')
    for name, value in fields.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f'field {name!r}: a name must be a text that is not empty')
        if name in RESERVED:
            raise ValueError(f'field {name!r}: Treasure Data has that column itself; rename it')
        try:
            msgpack.packb({name: value})
        except (TypeError, ValueError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f'field {name!a}: {type(value).__name__} {error}; send text, bytes, numbers of '
                '64 bits, True, False, None, or lists and dicts of those'
            ) from None
