"""Turns a validation error into lines for the person who set the variable."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from be_queue import SettingError
from be_queue.redact import MASK, redact

__all__ = ['ConfigError']

#: What is allowed, in plainer words than pydantic's.
WORDS = {'int_parsing': 'a whole number', 'bool_parsing': 'true or false'}


class ConfigError(SettingError):
    """Settings that cannot be used: one line per fault."""

    @classmethod
    def from_validation(cls, error: ValidationError, shown: Collection[str]) -> ConfigError:
        """Name each variable, its value if its field is in ``shown``, and what is allowed."""
        return cls('\n'.join(_line(fault, shown) for fault in error.errors(include_url=False)))


def _line(fault: Mapping[str, Any], shown: Collection[str]) -> str:
    name = '.'.join(map(str, fault['loc']))
    if not name:  # of several settings together, which are the input
        return str(fault['msg']).removeprefix('Value error, ')
    if fault['type'] == 'missing':  # the input is all that was set beside it
        return f'{name.upper()} is missing: it must be set'
    value = repr(_shown(fault['input'], name)) if name in shown else MASK
    return f'{name.upper()}={value}: must be {_allowed(fault)}'


def _shown(value: Any, name: str) -> Any:
    if isinstance(value, str) and '@' in value:
        # A login before a host, with a scheme or without: a user's name may be a key.
        before, _, host = value.rpartition('@')
        scheme, separator, _ = before.partition('://')
        value = f'{scheme}{separator}{MASK}@{host}' if separator else f'{MASK}@{host}'
    return redact(value, name)


def _allowed(fault: Mapping[str, Any]) -> str:
    if fault['type'] in WORDS:
        return WORDS[fault['type']]
    message = str(fault['msg'])
    # Pydantic's words for its own rules, or those before the words of a validator of ours.
    for prefix in ('Input should be ', 'Value error, '):
        if message.startswith(prefix):
            return message.removeprefix(prefix)
    return f'valid: {message}'
