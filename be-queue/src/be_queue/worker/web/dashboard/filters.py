"""The filters of the dashboard's templates: numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

from jinja2 import Undefined

__all__ = ['UNKNOWN', 'ago', 'duration', 'number', 'percent']

#: Stands for a value that is not known.
UNKNOWN = '\N{EN DASH}'


def number(value: float | None) -> str:
    """Return ``12 345``, with thin spaces."""
    if value is None or isinstance(value, Undefined):
        return UNKNOWN
    return f'{value:,.0f}'.replace(',', '\N{NARROW NO-BREAK SPACE}')


def percent(part: float | None) -> str:
    """Return ``2.5 %`` of 0.025."""
    return UNKNOWN if part is None else f'{100 * part:.1f} %'


def duration(seconds: float | None) -> str:
    """Return ``8 ms``, ``1.24 s``, ``3.5 min`` or ``2.1 h``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f'{seconds * 1000:.0f} ms'
    if seconds < 60:
        return f'{seconds:.2f} s'
    return f'{seconds / 60:.1f} min' if seconds < 3600 else f'{seconds / 3600:.1f} h'


def ago(moment: datetime) -> str:
    """Return how far off a moment is, in its largest unit: ``12 s ago``, ``in 3 min``."""
    passed = (datetime.now(timezone.utc) - moment).total_seconds()
    seconds = int(abs(passed))
    units = ((86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's'))
    length, name = next((unit for unit in units if seconds >= unit[0]), units[-1])
    text = f'{seconds // length} {name}'
    return f'{text} ago' if passed >= 0 else f'in {text}'
