"""Settings from environment variables: Celery's as ``CELERY_<SETTING>``, and our own."""

from __future__ import annotations

import ast
import difflib
import logging
import os
from collections.abc import Iterable, Mapping
from functools import cache
from math import inf
from typing import Any

from celery.app import defaults

from be_queue.errors import SettingError
from be_queue.redact import redact_text

__all__ = ['celery_settings', 'closest', 'known_settings', 'own_setting']

logger = logging.getLogger(__name__)

CELERY_PREFIX = 'CELERY_'
BOOLEANS = {
    **dict.fromkeys(('1', 'true', 'yes', 'on'), True),
    **dict.fromkeys(('0', 'false', 'no', 'off'), False),
}
TEXTS = ('string', 'str', 'bytes')
#: The Python types of Celery's other types of settings; 'any' takes texts and literals.
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

    ``CELERY_WORKER_CONCURRENCY=4`` becomes ``{'worker_concurrency': 4}``. A setting that is not a
    text is read as a Python literal; booleans may also be ``true``/``false``, ``yes``/``no``,
    ``on``/``off``. A variable that looks like a misspelt setting is logged as a warning, since
    other programs own variables that start with ``CELERY_`` too.

    Raises `SettingError` naming the variable whose value does not fit its setting.
    """
    settings = {}
    for variable, text in environ.items():
        if not variable.startswith(CELERY_PREFIX) or not text:
            continue
        name = variable.removeprefix(CELERY_PREFIX).lower()
        if name in known_settings():
            settings[name] = _value(name, text)
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
    text = str(given)
    value: Any = text
    if isinstance(default, bool):
        value, wanted = BOOLEANS.get(text.lower()), 'true or false'
    elif isinstance(default, float):
        value, wanted = _seconds(text), 'a number of seconds above 0'
    elif name == 'RESULT_DB_PORT':
        is_port = text.isdecimal() and 0 < int(text) < 65536
        value, wanted = text if is_port else None, 'a port number, 1 to 65535'
    elif name == 'QUEUE_NAME_PREFIX':
        value, wanted = text or None, "a text, for example 'dev'"
    if value is None:
        raise SettingError(f'{name}={text!r}: must be {wanted}')
    return value


def closest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the one of ``known`` that is closest to ``name``, if any is as close as ``cutoff``."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _value(name: str, text: str) -> Any:
    kind = known_settings()[name]
    if name == 'worker_concurrency' and text.lower() != 'auto':
        kind = 'concurrency'  # Celery's type is 'any', and its command line takes these alone
    if kind in TEXTS:
        return text
    if kind == 'bool' and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    try:
        value = ast.literal_eval(text.strip())
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


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < inf else None
