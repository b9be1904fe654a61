"""Celery settings from ``CELERY_<SETTING>`` environment variables."""

from __future__ import annotations

import ast
import difflib
import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from celery.app import defaults

from be_queue.errors import SettingError
from be_queue.redact import redact_text

__all__ = ['BOOLEANS', 'celery_settings', 'closest', 'known_settings', 'suggestion']

logger = logging.getLogger(__name__)

VARIABLE_PREFIX = 'CELERY_'
BOOLEANS = {
    **dict.fromkeys(('1', 'true', 'yes', 'on'), True),
    **dict.fromkeys(('0', 'false', 'no', 'off'), False),
}
#: Types whose values Celery takes as text; 'any' takes text as well as literals.
_TEXT_TYPES = {'string', 'str', 'bytes'}


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
        if not variable.startswith(VARIABLE_PREFIX) or not text:
            continue
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        kind = known_settings().get(name)
        if kind is not None:
            settings[name] = _value(variable, text, kind)
        elif hint := suggestion(name, cutoff=0.9):
            logger.warning(
                '%s is not a Celery setting and has no effect: did you mean %s%s?',
                variable,
                VARIABLE_PREFIX,
                hint.upper(),
            )
    return settings


def suggestion(name: str, cutoff: float = 0.7) -> str | None:
    """Return the Celery setting whose name is closest to ``name``, if any comes close."""
    return closest(name, known_settings(), cutoff)


def closest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the one of ``known`` that is closest to ``name``, if any is as close as ``cutoff``."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _value(variable: str, text: str, kind: str) -> Any:
    if variable == 'CELERY_WORKER_CONCURRENCY':
        return _concurrency(variable, text.strip())
    if kind in _TEXT_TYPES:
        return text
    if kind == 'bool' and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if kind == 'any':
            return text
        raise _refused(variable, text, kind) from None
    if not _fits(value, kind):
        raise _refused(variable, text, kind)
    return value


def _concurrency(variable: str, text: str) -> int | str:
    # Celery's type is 'any'. Its command line reads the variable too, and takes these alone.
    if text.lower() == 'auto':
        return 'auto'
    if not (text.isascii() and text.isdecimal()):
        raise _refused(variable, text, 'concurrency')
    return int(text)


def _fits(value: Any, kind: str) -> bool:
    if value is None or kind == 'any':
        return True
    if kind == 'bool':
        return isinstance(value, bool)
    if kind in ('int', 'float'):
        numbers = (int,) if kind == 'int' else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, dict if kind == 'dict' else (list, tuple))


def _refused(variable: str, text: str, kind: str) -> SettingError:
    wanted = {
        'bool': 'True or False',
        'int': 'a whole number',
        'float': 'a number',
        'concurrency': "a whole number, or 'auto'",
        'dict': "a Python dict such as {'key': 1}",
    }.get(kind, "a Python list or tuple such as ['json']")
    return SettingError(f'{variable}={redact_text(text, variable)!r}: this setting takes {wanted}')
