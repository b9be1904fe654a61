"""What an event may hold: checked where it is logged, whether or not event logs are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.config.configuration.sections.fluent import TD_NAME, TD_NAME_RULE

__all__ = ['MAX_DEPTH', 'MAX_FIELDS', 'RESERVED', 'check_fields', 'check_table']

#: ``time`` is the event's own, which fluent-plugin-td writes over a field of that name; ``v`` is
#: a column of Hive's in tables that were made before August 2025 (td-client-ruby, change 156).
RESERVED = frozenset({'time', 'v'})
#: fluent-plugin-td throws records of more than 512 away, ``time`` among them.
MAX_FIELDS = 511
#: Ruby's msgpack, which Fluentd reads with, gives up at 128.
MAX_DEPTH = 100
#: What msgpack has a form for.
MIN_INT, MAX_INT = -(2**63), 2**64 - 1

_ALLOWED = 'text, bytes, numbers, True, False, None, and lists and dicts of those'


def check_table(table: str) -> None:
    """Raise ValueError unless Treasure Data takes it as a table's name."""
    if not isinstance(table, str) or not TD_NAME.fullmatch(table):
        raise ValueError(f'table {table!r}: must be {TD_NAME_RULE}')


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError, with the field's name and not its value, for what is lost.

    That is a value that msgpack cannot hold, a reserved name, or more than the receiver takes.
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f'an event is a {type(fields).__name__}: must be a dict of its fields')
    if len(fields) > MAX_FIELDS:
        raise ValueError(f'an event has {len(fields)} fields: at most {MAX_FIELDS} are taken')
    for name, value in fields.items():
        _check_name(name, 'field')
        if name in RESERVED:
            raise ValueError(f'field {name!r}: Treasure Data has that column itself; rename it')
        _check_value(name, value, 1)


def _check_name(name: Any, where: str) -> None:
    if not isinstance(name, str):
        kind = type(name).__name__
        raise TypeError(f'{where} {name!r}: names are texts, not {kind}; give str({name!r})')
    if not name:
        raise ValueError(f'{where} {name!r}: a name is empty')
    _check_text(name, name)


def _check_value(path: str, value: Any, depth: int) -> None:
    if value is None or isinstance(value, (bool, float, bytes, bytearray)):
        return
    if isinstance(value, str):
        _check_text(path, value)
    elif isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            raise ValueError(f'field {path!r}: an integer of more than 64 bits; give text')
    elif isinstance(value, (list, tuple, dict)):
        if depth > MAX_DEPTH:
            raise ValueError(f'field {_brief(path)!r}: deeper than {MAX_DEPTH} lists and dicts')
        _check_inner(path, value, depth)
    else:
        kind = type(value).__name__
        raise TypeError(
            f'field {path!r}: a {kind} cannot be sent; make it one of {_ALLOWED}'
            f'{_FIXES.get(kind, "")}'
        )


def _check_inner(path: str, value: Any, depth: int) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_name(name, f'in field {_brief(path)!r}, key')
            _check_value(f'{path}.{name}', inner, depth + 1)
    else:
        for index, inner in enumerate(value):
            _check_value(f'{path}[{index}]', inner, depth + 1)


def _check_text(path: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f'field {_brief(path)!a}: has characters that UTF-8 has not; '
            "mend it with .encode('utf-8', 'replace').decode()"
        ) from None


def _brief(path: str) -> str:
    return path if len(path) <= 60 else f'{path[:60]}...'


#: How what people try to log most often is written instead.
_FIXES = {
    'Decimal': ', for example with str() or float()',
    'UUID': ', for example with str()',
    'datetime': ', for example with .isoformat() or .timestamp()',
    'date': ', for example with .isoformat()',
    'set': ', for example with sorted()',
    'frozenset': ', for example with sorted()',
}
