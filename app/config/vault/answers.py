"""What an answer of Vault holds, or why it is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import requests

from app.config.vault.errors import (
    AddressError,
    AwayError,
    DeniedError,
    FailingError,
    MissingError,
    RefusedError,
    VaultError,
)
from be_queue.redact import MASK

__all__ = ['content', 'reason', 'seconds']

#: Characters of Vault's own words in an error.
SHOWN = 200
#: Seconds that no time in an answer reaches.
NO_TIME = 1e12
#: Statuses of Vault that HTTP does not know.
OWN_STATUSES = {472: 'standby for disaster recovery', 473: 'standby for performance'}
NO_VAULT = 'the answer{} is not one of Vault: check VAULT_ADDR'


def content(answer: requests.Response, hidden: list[str]) -> dict[str, Any]:
    """Return what an answer holds; {} when it has no body.

    Arguments:
        hidden: what Vault might repeat in an error and nobody may see.

    Raises `VaultError`.
    """
    status = answer.status_code
    if status == 204:
        return {}
    found = _json(answer)
    if status != 200:
        raise _error(status, found, hidden)
    if found is None:
        raise AddressError(NO_VAULT.format(''))
    _check(found)
    return found


def seconds(value: object) -> float:
    """Return a time of an answer; None is 0. Raises `AddressError` when it is no number."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < NO_TIME:
        raise AddressError(NO_VAULT.format(''))
    return float(value)


def reason(error: BaseException, timeout: float) -> str:
    """Return why there is no answer within ``timeout``; nothing of the request is in it."""
    if isinstance(error, requests.exceptions.SSLError):
        return 'its certificate is not accepted: check VAULT_CACERT, and https in VAULT_ADDR'
    if isinstance(error, requests.exceptions.Timeout):
        return f'no answer within {timeout:g} s (VAULT_TIMEOUT)'
    if isinstance(error, requests.exceptions.ConnectionError):
        system = next((e for e in _causes(error) if isinstance(e, OSError) and e.strerror), None)
        return f'no connection: {system.strerror}' if system else 'no connection'
    return f'no usable answer ({type(error).__name__})'


def _json(answer: requests.Response) -> dict[str, Any] | None:
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _check(found: Mapping[str, Any]) -> None:
    """Raise `AddressError` for JSON of somebody else, which would end in a traceback later."""
    for name in ('data', 'auth'):
        if not isinstance(found.get(name), (dict, type(None))):
            raise AddressError(NO_VAULT.format(''))
    for holder in (found, found.get('auth') or {}):
        seconds(holder.get('lease_duration'))


def _error(status: int, found: dict[str, Any] | None, hidden: list[str]) -> VaultError:
    named = _named(status)
    if status in (400, 403, 404) and found is None:
        # Vault says these in JSON; a proxy, or a web server, in a page.
        return AddressError(NO_VAULT.format(f', {named},'))
    words = _words(found or {}, hidden)
    if status == 503:
        # Sealed, or a standby that knows no active node.
        return AwayError(words or 'Vault answers that it is not available')
    if status in (401, 403):
        return DeniedError(words or 'permission denied')
    if status == 404:
        data = (found or {}).get('data')
        deleted = isinstance(data, dict) and data.get('metadata')
        return MissingError('deleted' if deleted else words or 'nothing is there')
    if status == 500:
        return FailingError(words or 'Vault answers with an error of its own')
    if status == 400:
        return RefusedError(words or 'the request is refused')
    if status < 400:
        return AddressError(NO_VAULT.format(f', {named},'))
    return AwayError(f'{named}: {words}' if words else named)


def _named(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = OWN_STATUSES.get(status, '')
    return f'status {status} ({phrase})' if phrase else f'status {status}'


def _words(found: Mapping[str, Any], hidden: list[str]) -> str:
    errors = found.get('errors') or ()
    words = ', '.join(map(str, errors)) if isinstance(errors, (list, tuple)) else str(errors)
    for secret in hidden:
        words = words.replace(secret, MASK)
    return ' '.join(words.split())[:SHOWN]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors within: those of urllib3 carry the system's as an argument."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        this = waiting.pop()
        if id(this) in seen:
            continue
        seen.add(id(this))
        yield this
        inner = (*this.args, getattr(this, 'reason', None), this.__cause__, this.__context__)
        waiting += [e for e in inner if isinstance(e, BaseException)]
