"""Settings from environment variables: Celery's as ``CELERY_<SETTING>``, and our own."""

from __future__ import annotations

import ast
import difflib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import inf
from typing import Any

from celery.app import defaults
from celery.utils.serialization import strtobool

from be_queue.errors import SettingError
from be_queue.redact import redact_text

__all__ = ['celery_settings', 'closest', 'known_settings', 'own_setting']

logger = logging.getLogger(__name__)

CELERY_PREFIX = 'CELERY_'
#: The Python types of Celery's types of settings, and what to write in a variable.
LITERALS: dict[str, tuple[tuple[type, ...], str]] = {
    'bool': ((bool,), 'True or False'),
    'int': ((int,), 'a whole number'),
    'concurrency': ((int,), "a whole number, or 'auto'"),
    'float': ((int, float), 'a number'),
    'dict': ((dict,), "a Python dict such as {'key': 1}"),
    'list': ((list, tuple), "a Python list or tuple such as ['json']"),
    'tuple': ((list, tuple), "a Python list or tuple such as ['json']"),
}
#: Own settings whose variable has another name.
VARIABLES = {
    'QUEUE_NAME_PREFIX': ('QUEUE_PREFIX',),
    'AWS_REGION': ('AWS_REGION', 'AWS_DEFAULT_REGION'),
}


@cache
def known_settings() -> dict[str, str]:
    """Return the type of every Celery setting: ``{'task_acks_late': 'bool', ...}``."""
    return {
        name: option.type if isinstance(option.type, str) else option.type.__name__
        for name, option in defaults.flatten(defaults.NAMESPACES)
    }


def celery_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that ``environ`` holds; an empty variable counts as unset.

    ``CELERY_WORKER_CONCURRENCY=4`` becomes ``{'worker_concurrency': 4}``. Settings that are not
    texts are read as Python literals; booleans may also be ``true``, ``yes``, ``on`` and so on.
    Raises `SettingError` naming the variable whose value does not fit its setting.
    """
    settings = {}
    for variable, text in environ.items():
        if not variable.startswith(CELERY_PREFIX) or not text:
            continue
        name = variable.removeprefix(CELERY_PREFIX).lower()
        if name in known_settings():
            settings[name] = _value(name, text)
        # Other programs own variables that start with CELERY_ too.
        elif hint := closest(name, known_settings(), 0.9):
            logger.warning(
                '%s is not a Celery setting and has no effect: did you mean %s%s?',
                *(variable, CELERY_PREFIX, hint.upper()),
            )
    return settings


def own_setting(name: str, given: Any, default: Any) -> Any:
    """Return a setting of be_queue: as given, else as its variable has it, else the default.

    None counts as not given, an empty variable as unset. Raises `SettingError` for a value that
    cannot be used.
    """
    if given is None:
        texts = map(os.environ.get, VARIABLES.get(name, (name,)))
        given = next(filter(None, texts), default)
    read, wanted = READERS[type(default)]
    try:
        return read(str(given))
    except (TypeError, ValueError):
        raise SettingError(f'{name}={str(given)!r}: must be {wanted}') from None


def closest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the one of ``known`` that is closest to ``name``, if any is as close as ``cutoff``."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _value(name: str, text: str) -> Any:
    kind = known_settings()[name]
    if name == 'worker_concurrency' and text.lower() != 'auto':
        kind = 'concurrency'  # Celery's type is 'any', and its command line takes these alone
    if kind in ('string', 'str', 'bytes'):
        return text
    try:
        value = strtobool(text) if kind == 'bool' else ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = text
    if kind == 'any':
        return value
    types, wanted = LITERALS[kind]
    if value is not None and type(value) not in types:
        variable = CELERY_PREFIX + name.upper()
        shown = redact_text(text, variable)
        raise SettingError(f'{variable}={shown!r}: this setting takes {wanted}')
    return value


def _positive(number: type[int] | type[float], below: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = number(text)
        if not 0 < value < below:
            raise ValueError
        return value

    return read


#: How a text becomes an own setting whose default has this type, and what is allowed.
READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (strtobool, 'true or false'),
    int: (_positive(int, 65_536), 'a port number, 1 to 65535'),
    float: (_positive(float, inf), 'a number of seconds above 0'),
    str: (str, 'a text'),
}
