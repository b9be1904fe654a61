"""Turns a validation error into lines for the person who set the variable."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from be_queue import SettingError
from be_queue.redact import MASK, redact

__all__ = ['ConfigError']


class ConfigError(SettingError):
    """Settings that cannot be used: one line per fault."""

    @classmethod
    def from_validation(cls, error: ValidationError, secret: Collection[str]) -> ConfigError:
        """Name each variable, its value unless its field is in ``secret``, and what is allowed."""
        lines = []
        for fault in error.errors(include_url=False):
            field = str(fault['loc'][0]) if fault['loc'] else ''
            value = MASK if field in secret else repr(_shown(fault['input']))
            lines.append(f'{field.upper()}={value}: must be {_allowed(fault)}')
        return cls('\n'.join(lines))


def _shown(value: Any) -> Any:
    # A login before a host, without the scheme by which it would be known as one.
    if isinstance(value, str) and '://' not in value:
        before, at, host = value.rpartition('@')
        return f'{MASK}{at}{host}' if before else value
    return redact(value)


def _allowed(fault: Mapping[str, Any]) -> str:
    if fault['type'] == 'int_parsing':
        return 'a whole number'
    if fault['type'] == 'bool_parsing':
        return 'true or false'
    # Pydantic's words for its own rules, then those before the words of a validator of ours.
    words: str = fault['msg'].removeprefix('Input should be ').removeprefix('Value error, ')
    return words
