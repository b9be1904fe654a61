"""The settings of this process: read once, each fault a line for who set the variable."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from dotenv import load_dotenv
from pydantic import ValidationError
from pydantic_settings import SettingsError

from be_queue import SettingError
from be_queue.environment import closest
from be_queue.redact import MASK, redact
from be_queue.worker.settings.settings import Settings
from be_queue.worker.vault.settings import names

__all__ = ['ConfigError', 'current', 'forget', 'use', 'warn_of_misspelt']

logger = logging.getLogger(__name__)

#: The allowed values, in plainer words than pydantic's.
WORDS = {'int_parsing': 'a whole number', 'bool_parsing': 'true or false'}


class ConfigError(SettingError):
    """Settings that cannot be used: one line per fault."""


_class: type[Settings] = Settings


def use(settings_class: type[Settings]) -> None:
    """Have this process read its settings as ``settings_class``, also when it has read them."""
    global _class
    _class = settings_class
    forget()


@cache
def current() -> Settings:
    """Return the settings of this process, of the class given to `use`, read once.

    Raises `ConfigError` with one line per fault.
    """
    # Into the environment, so that Celery's, boto3's and Prometheus' own variables count too.
    load_dotenv(_class.root / '.env', override=False)
    try:
        return _class()
    except ValidationError as error:
        shown = _shown_fields(_class)
        lines = [_line(fault, shown) for fault in error.errors(include_url=False)]
    except SettingsError as error:  # error parsing value for field "..."
        name = str(error).split('"')[1].upper()
        lines = [f'{name} must be JSON, since it is a list or a dict']
    raise ConfigError('\n'.join(lines))


#: Has the next call of `current` read the settings anew.
forget = current.cache_clear


def warn_of_misspelt(settings_class: type[Settings]) -> None:
    """Log a warning for each variable whose name is close to that of a setting."""
    known = {name.upper() for name in settings_class.model_fields}
    for variable in os.environ:
        # be_queue checks CELERY_* itself. Other variables may belong to other programs.
        if variable.upper() in known or variable.startswith('CELERY_'):
            continue
        # RESULT_DB_PASSWORD is close to RESULT_DB_PASS, SERVER_NAME not to SERVICE_NAME.
        if hint := closest(variable.upper(), known, 0.87):
            logger.warning('%s is no setting of this worker: did you mean %s?', variable, hint)


def _shown_fields(settings_class: type[Settings]) -> set[str]:
    """Return the settings of which an error may show the value."""
    fields = settings_class.model_fields.items()
    shown = {name for name, field in fields if 'Secret' not in str(field.annotation)}
    # Upper case or lower, as for any setting.
    mappings = [text for name, text in os.environ.items() if name.upper() == 'VAULT_SECRETS']
    return shown.difference(*map(names, mappings))


def _line(fault: Mapping[str, Any], shown: Collection[str]) -> str:
    """Name the variable, its value if its field is in ``shown``, and what is allowed."""
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
