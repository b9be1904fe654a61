"""The secrets that this process knows, and texts without them: for logs and error reports.

known_secrets.add(password)    # from now on, this process writes *** in its place
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable
from operator import itemgetter
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from be_queue.redact import MASK, redact

__all__ = ['MAX_LATER', 'MIN_LENGTH', 'add', 'keep', 'learn', 'redacted']

#: Characters. A shorter text is found in words that have nothing to do with it.
MIN_LENGTH = 6
#: Forms of secrets that came later; each has one to five.
MAX_LATER = 100

# Word by word: be_queue.redact hides all between the first URL and the last '@' of a text, and a
# traceback is a long text.
_WORD = re.compile(r'\S+')
# Variables that hold secrets and are no settings of ours.
_VARIABLES = ('AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')
_URL_VARIABLES = ('CELERY_BROKER_URL', 'CELERY_RESULT_BACKEND')

# Of the settings, and those that came later with when, each in all its forms.
_settings: dict[str, int] = {}
_later: dict[str, int] = {}
_clock = itertools.count()
# Both, the longest first, so that one that holds another is masked whole.
_known: tuple[str, ...] = ()


def add(text: str) -> None:
    """Have ``text`` masked from now on, also as it looks in URLs and in reprs.

    The `MAX_LATER` that were added last, again or for the first time, are kept: credentials that
    rotate are of no use when they are old.
    """
    _keep(_later, text)


def keep(text: str) -> None:
    """Have ``text`` masked as long as this process lasts: it is the value of a setting."""
    _keep(_settings, text)


def _keep(known: dict[str, int], text: str) -> None:
    global _known
    if len(text) < MIN_LENGTH:
        return
    quoted = (quote(text, safe=''), quote(text), quote_plus(text))
    escaped = (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
    # In place: one that is taken out and put in again could be seen in between.
    known.update(dict.fromkeys((text, *quoted, *(form[1:-1] for form in escaped)), next(_clock)))
    for _ in range(len(_later) - MAX_LATER):
        _later.pop(min(list(_later.items()), key=itemgetter(1))[0], None)
    # Threads may be here together: whoever is last has them all.
    while set(_known) != (forms := {*_settings, *_later}):
        _known = tuple(sorted(forms, key=len, reverse=True))


def learn(config: BaseModel) -> None:
    """Have the secrets among the settings, and in the environment, masked.

    A password that is also the user's name, say, is none: to mask it would mask that as well.
    """
    values = [getattr(config, name) for name in type(config).model_fields]
    public = {value for value in values if isinstance(value, str)}
    found = [text for value in values for text in _secrets_in(value)]
    found += [os.environ.get(name, '') for name in _VARIABLES]
    found += [word for name in _URL_VARIABLES for word in _password(os.environ.get(name, ''))]
    for text in found:
        if text not in public:
            _keep(_settings, text)


def redacted(text: str) -> str:
    """Return ``text`` without secrets."""
    for word in _known:
        if word in text:
            text = text.replace(word, MASK)
    if '://' in text and ('@' in text or '?' in text):
        text = _WORD.sub(_without_login, text)
    return text


def _without_login(found: re.Match[str]) -> str:
    word = found[0]
    return str(redact(word)) if '://' in word else word


def _secrets_in(value: object) -> Iterable[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield text
        yield from _password(text)
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode('utf-8', 'replace')
    elif isinstance(value, str):
        yield from _password(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets_in(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _secrets_in(inner)


def _password(url: str) -> Iterable[str]:
    if '://' not in url:
        return
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
