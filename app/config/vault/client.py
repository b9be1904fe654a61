"""Requests to Vault, each within a bounded time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import hvac  # type: ignore[import-untyped]
import requests
from hvac import exceptions

from app.config.configuration.sections import VaultSettings
from app.config.vault.errors import (
    AwayError,
    DeniedError,
    FailingError,
    MissingError,
    RefusedError,
    VaultError,
)
from be_queue.redact import MASK

__all__ = ['Client']

T = TypeVar('T')

#: Requests without an answer, beside which no other is begun.
MAX_HANGING = 4
#: Characters of Vault's own words in an error.
SHOWN = 200


class Client:
    """Asks Vault.

    Arguments:
        settings: where Vault is.
        patience: seconds for all requests together; None is no limit but that of each,
            ``VAULT_TIMEOUT``.
    """

    def __init__(self, settings: VaultSettings, patience: float | None = None) -> None:
        self.settings = settings
        self._hanging: list[threading.Thread] = []
        self._deadline = None if patience is None else time.monotonic() + patience

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str = '',
        hidden: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return the answer to a request; {} when it has no body.

        Arguments:
            path: below ``/v1/``.
            hidden: what Vault might repeat in an error and nobody may see, beside the token.

        Raises `VaultError`.
        """
        try:
            answer = self.within(lambda: self._request(method, path, body, token))
        except VaultError:
            raise
        except exceptions.VaultError as error:
            raise _known(error, [text for text in (token, *hidden) if text]) from None
        except Exception as error:  # noqa: BLE001  (requests, urllib3 and OSError have many)
            # Their texts are not passed on: one of a header that cannot be sent shows the token.
            raise AwayError(_reason(error)) from None
        if not isinstance(answer, dict):
            return {}
        return answer

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: str
    ) -> dict[str, Any] | None:
        settings = self.settings
        client = hvac.Client(
            url=settings.vault_addr,
            # Not None: hvac would look for a developer's token in the home directory.
            token=token,
            namespace=settings.vault_namespace,
            verify=str(settings.vault_cacert) if settings.vault_cacert else True,
            timeout=settings.vault_timeout,
        )
        try:
            answer = client.adapter.request(method, f'/v1/{quote(path)}', json=body)
            if isinstance(answer, dict) or answer.status_code == 204:
                return answer if isinstance(answer, dict) else None
            raise RefusedError('the answer is not one of Vault: check VAULT_ADDR')
        finally:
            client.adapter.close()

    def within(self, action: Callable[[], T]) -> T:
        """Return what ``action`` returns, in a thread of its own and within the time.

        A server that sends a byte now and then, or a resolver that hangs, outlasts every timeout
        of a socket. Raises `AwayError` when it takes longer.
        """
        seconds = self.settings.vault_timeout
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - time.monotonic())
        outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                outcome.put((True, action()))
            except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
                outcome.put((False, error))

        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise AwayError('earlier requests have no answer yet')
        thread = threading.Thread(target=run, name='vault request', daemon=True)
        if seconds > 0:
            try:
                thread.start()
            except RuntimeError:
                run()  # the interpreter ends, and starts no thread any more
        try:
            good, value = outcome.get(timeout=max(0.0, seconds))
        except queue.Empty:
            self._hanging.append(thread)
            raise AwayError(
                f'no answer within {self.settings.vault_timeout:g} s (VAULT_TIMEOUT)'
            ) from None
        if not good:
            raise value
        result: T = value
        return result


def _known(error: exceptions.VaultError, hidden: list[str]) -> VaultError:
    words = ', '.join(map(str, error.errors or ()))
    for secret in hidden:
        words = words.replace(secret, MASK)
    words = ' '.join(words.split())[:SHOWN]
    if isinstance(error, exceptions.VaultDown):
        # Sealed, or a standby that knows no active node.
        return AwayError(words or 'Vault answers that it is not available')
    if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized)):
        return DeniedError(words or 'permission denied')
    if isinstance(error, exceptions.InvalidPath):
        deleted = isinstance(error.json, dict) and (error.json.get('data') or {}).get('metadata')
        return MissingError('deleted' if deleted else words)
    if isinstance(error, exceptions.InternalServerError):
        return FailingError(words or 'Vault answers with an error of its own')
    if isinstance(error, exceptions.InvalidRequest):
        return RefusedError(words or 'the request is refused')
    return AwayError(words or type(error).__name__)


def _reason(error: BaseException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return 'its certificate is not accepted: check VAULT_CACERT, and https in VAULT_ADDR'
    if isinstance(error, requests.exceptions.Timeout):
        return 'no answer in time (VAULT_TIMEOUT)'
    if isinstance(error, requests.exceptions.ConnectionError):
        system = next((e for e in _causes(error) if isinstance(e, OSError) and e.strerror), None)
        return f'no connection: {system.strerror}' if system else 'no connection'
    return f'no usable answer ({type(error).__name__})'


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
