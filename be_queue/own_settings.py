"""be_queue's own settings, in upper case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import inf
from typing import Any

from be_queue.environment import BOOLEANS
from be_queue.errors import SettingError

__all__ = ['OwnSettings']


class OwnSettings:
    """Each is a keyword, else the environment variable of its name, else the default below."""

    QUEUE_NAME_PREFIX = 'dev'
    RESULT_DB_USER = 'cadasta'
    RESULT_DB_PASS = 'cadasta'
    RESULT_DB_HOST = 'localhost'
    RESULT_DB_PORT = '5432'
    RESULT_DB_NAME = 'cadasta'
    RESULT_BACKEND_TIMEOUT = 2.0
    AWS_REGION = 'us-west-2'
    SQS_ENDPOINT_URL = ''
    ALLOW_UNMAPPED_TASKS = False
    CHORD_TIMEOUT = 86_400.0

    def _set(self, keywords: Mapping[str, Any]) -> None:
        """Set all; other keywords are kept as they are.

        None counts as not given, an empty variable as unset. Raises `SettingError` for a value that
        cannot be used.
        """
        vars(self).update(keywords)
        for name, default in vars(OwnSettings).items():
            if name.isupper():
                texts = map(os.environ.get, VARIABLES.get(name, (name,)))
                value = keywords.get(name)
                if value is None:
                    value = next(filter(None, texts), default)
                setattr(self, name, _parsed(name, str(value), type(default)))


#: Where the variable has another name than the setting.
VARIABLES = {
    'QUEUE_NAME_PREFIX': ('QUEUE_PREFIX',),
    'AWS_REGION': ('AWS_REGION', 'AWS_DEFAULT_REGION'),
}


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in BOOLEANS:
            return BOOLEANS[text.lower()]
        raise SettingError(f'{name}={text!r}: must be true or false')
    if kind is float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if 0 < value < inf:
            return value
        raise SettingError(f'{name}={text!r}: must be a number of seconds above 0')
    if name == 'RESULT_DB_PORT' and not (text.isdecimal() and 0 < int(text) < 65536):
        raise SettingError(f'{name}={text!r}: must be a port number, 1 to 65535')
    if name == 'QUEUE_NAME_PREFIX' and not text:
        raise SettingError(f"{name}='': must be a text, for example 'dev'")
    return text
