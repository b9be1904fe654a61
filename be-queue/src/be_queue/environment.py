"""Settings from environment variables: Celery's as ``CELERY_<SETTING>``, and our own."""

from __future__ import annotations

import ast
import difflib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import inf
from types import NoneType
from typing import Any, NamedTuple

from celery.app import defaults
from celery.utils.serialization import strtobool

from be_queue.errors import SettingError
from be_queue.redact import redact_text

__all__ = ['Rule', 'celery_settings', 'closest', 'known_settings', 'own_setting', 'whole']

logger = logging.getLogger(__name__)

CELERY_PREFIX = 'CELERY_'
#: Own settings whose variable has another name.
VARIABLES = {
    'QUEUE_NAME_PREFIX': ('QUEUE_PREFIX',),
    'AWS_REGION': ('AWS_REGION', 'AWS_DEFAULT_REGION'),
}


class Rule(NamedTuple):
    """The values that a setting takes: the words after "must be", and the check."""

    words: str
    fits: Callable[[Any], bool]


def whole(low: int, high: int) -> Rule:
    """Return the rule for whole numbers from ``low`` to ``high``."""
    return Rule(f'a whole number, {low} to {high}', lambda v: type(v) is int and low <= v <= high)


def _literal(words: str, *types: type) -> Rule:
    return Rule(words, lambda value: type(value) in (*types, NoneType))


BOOLEAN = Rule('true or false', lambda value: isinstance(value, bool))
ABOVE_0 = Rule('a number above 0', lambda value: type(value) in (int, float) and 0 < value < inf)
#: By the type of the default.
OWN_RULES = {bool: BOOLEAN, int: whole(1, 65_535), float: ABOVE_0}
#: By Celery's type of a setting, or by its name.
CELERY_RULES = {
    'any': Rule('any value', lambda _: True),
    'bool': BOOLEAN,
    'int': _literal('a whole number', int),
    'float': _literal('a number', int, float),
    'dict': _literal("a Python dict such as {'key': 1}", dict),
    'list': _literal("a Python list or tuple such as ['json']", list, tuple),
    'tuple': _literal("a Python list or tuple such as ['json']", list, tuple),
    # Celery's type is 'any', and its command line takes these alone.
    'worker_concurrency': Rule(
        "a whole number, or 'auto'", lambda value: type(value) is int or value == 'auto'
    ),
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
    settings: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(CELERY_PREFIX) or not text:
            continue
        name = variable.removeprefix(CELERY_PREFIX).lower()
        if kind := known_settings().get(name):
            rule = CELERY_RULES.get(name) or CELERY_RULES.get(kind)  # None for texts
            settings[name] = text if rule is None else _read(variable, text, rule)
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
    rule = OWN_RULES.get(type(default))
    return str(given) if rule is None else _read(name, str(given), rule)


def closest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the one of ``known`` that is closest to ``name``, if any is as close as ``cutoff``."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _read(name: str, text: str, rule: Rule) -> Any:
    """Return the Python value of ``text``; raise `SettingError` when the rule refuses it."""
    try:
        value = strtobool(text) if rule is BOOLEAN else ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = text
    if not rule.fits(value):
        raise SettingError(f'{name}={redact_text(text, name)!r}: must be {rule.words}')
    return value
