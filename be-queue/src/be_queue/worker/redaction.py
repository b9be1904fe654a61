"""Masks the secrets that this process knows in texts: for logs, error reports and spans.

redaction.add(password)    # from now on, this process writes *** in its place
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from be_queue.redact import MASK, redact

__all__ = ['MAX_LATER', 'MIN_LENGTH', 'add', 'keep', 'learn', 'redacted']

#: Characters. A shorter secret would be found in words that have nothing to do with it.
MIN_LENGTH = 6
#: Secrets added by `add` that are masked; the oldest is dropped first.
MAX_LATER = 100

# Word by word: be_queue.redact hides all between the first URL and the last '@' of a text, and a
# traceback is a long text.
_WORD = re.compile(r'\S+')
# Variables that hold secrets and are no settings of ours.
_VARIABLES = ('AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')
_URL_VARIABLES = ('CELERY_BROKER_URL', 'CELERY_RESULT_BACKEND')

# The secrets of the settings, and those added later, oldest first, each with all its forms.
_settings: dict[str, tuple[str, ...]] = {}
_later: dict[str, tuple[str, ...]] = {}
# All forms, the longest first, so that a secret that contains another is masked whole.
_known: tuple[str, ...] = ()

_lock = threading.Lock()
# A child that is forked while another thread holds the lock would wait for it forever.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def add(text: str) -> None:
    """Mask ``text`` from now on, also as it looks in URLs, in JSON and in reprs.

    Only the `MAX_LATER` that were added last are masked: rotated credentials stop working.
    """
    _remember(text, _later)


def keep(text: str) -> None:
    """Mask ``text`` for as long as this process lasts: it is the value of a setting."""
    _remember(text, _settings)


def learn(config: BaseModel) -> None:
    """Mask the secrets among the settings and in the environment.

    A password that equals a public setting, such as the user's name, is not masked: the name would
    be masked as well.
    """
    settings = [getattr(config, name) for name in type(config).model_fields]
    public = {value for value in settings if isinstance(value, str)}
    secret = [SecretStr(os.environ.get(name, '')) for name in _VARIABLES]
    urls = [os.environ.get(name, '') for name in _URL_VARIABLES]
    for text in _secrets_in([*settings, *secret, *urls]):
        if text not in public:
            keep(text)


def redacted(text: str) -> str:
    """Return ``text`` with ``***`` for known secrets and for passwords in URLs."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    if '://' in text and ('@' in text or '?' in text):
        text = _WORD.sub(lambda word: redact(word[0]) if '://' in word[0] else word[0], text)
    return text


def _remember(text: str, secrets: dict[str, tuple[str, ...]]) -> None:
    global _known
    if len(text) < MIN_LENGTH:
        return
    escaped = (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
    quoted = (quote(text, safe=''), quote(text), quote_plus(text))
    with _lock:
        secrets.pop(text, None)  # to be the newest
        secrets[text] = (text, *quoted, *(form[1:-1] for form in escaped))
        if len(_later) > MAX_LATER:
            del _later[next(iter(_later))]
        forms = {form for known in (*_settings.values(), *_later.values()) for form in known}
        _known = tuple(sorted(forms, key=len, reverse=True))


def _secrets_in(value: object) -> Iterable[str]:
    """Yield the secrets in a setting, and the passwords in its URLs, as they are and decoded."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _secrets_in(inner)
        return
    if isinstance(value, SecretBytes):
        value = SecretStr(value.get_secret_value().decode(errors='replace'))
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
        yield value
    try:
        password = urlsplit(str(value)).password
    except ValueError:  # it is no URL
        password = None
    if password:
        yield from (password, unquote(password))
