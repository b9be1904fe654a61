"""Requests to Vault, each within a bounded time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import hvac  # type: ignore[import-untyped]
import requests
from hvac.adapters import RawAdapter  # type: ignore[import-untyped]

from app import redaction
from app.config.configuration.sections import VaultSettings
from app.config.vault.answers import content, reason
from app.config.vault.errors import AwayError, SlowError, VaultError
from app.config.vault.session import Session

__all__ = ['Client']

T = TypeVar('T')

#: Requests without an answer, beside which no other is begun.
MAX_HANGING = 4


class Client:
    """Asks Vault.

    Arguments:
        settings: where Vault is.
        patience: seconds for all requests together; None is no limit but that of each,
            ``VAULT_TIMEOUT``.
    """

    def __init__(self, settings: VaultSettings, patience: float | None = None) -> None:
        self.settings = settings
        self._patience = patience
        self._hanging: list[threading.Thread] = []
        self._deadline = float('inf') if patience is None else time.monotonic() + patience

    @property
    def left(self) -> float:
        """Seconds until all requests together have taken too long."""
        return self._deadline - time.monotonic()

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
        secrets = [text for text in (token, *hidden) if text]
        for secret in secrets:
            # Each time: of those that rotate only the latest are known, and this one is in use.
            redaction.add(secret)
        try:
            return self.within(lambda: content(self._request(method, path, body, token), secrets))
        except VaultError as error:
            error.path = path
            raise
        except Exception as error:  # noqa: BLE001  (requests, urllib3 and OSError have many)
            # Their texts are not passed on: one of a header that cannot be sent shows the token.
            failed = AwayError(reason(error, self.settings.vault_timeout))
            failed.path = path
            raise failed from None

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: str
    ) -> requests.Response:
        settings = self.settings
        client = hvac.Client(
            url=settings.vault_addr,
            # Not None: hvac would look for a developer's token in the home directory.
            token=token,
            namespace=settings.vault_namespace,
            timeout=settings.vault_timeout,
            session=Session(str(settings.vault_cacert) if settings.vault_cacert else True),
            adapter=RawAdapter,
        )
        try:
            # Its errors are not those of hvac, which fail themselves on some bodies.
            answer: requests.Response = client.adapter.request(
                method, f'/v1/{quote(path)}', json=body, raise_exception=False
            )
            return answer
        finally:
            client.adapter.close()

    def within(self, action: Callable[[], T]) -> T:
        """Return what ``action`` returns, in a thread of its own and within the time.

        A server that sends a byte now and then, or a resolver that hangs, outlasts every timeout
        of a socket. Raises `AwayError` when it takes longer, and `SlowError` when it is that all
        requests together have taken too long.
        """
        timeout, left = self.settings.vault_timeout, self.left
        limit = min(timeout, left)
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
        if limit > 0:
            try:
                thread.start()
            except RuntimeError:
                run()  # the interpreter ends, and starts no thread any more
        try:
            good, value = outcome.get(timeout=max(0.0, limit))
        except queue.Empty:
            self._hanging.append(thread)
            if left < timeout:
                raise SlowError(
                    f'all requests together took more than {self._patience:g} s'
                ) from None
            raise AwayError(f'no answer within {timeout:g} s (VAULT_TIMEOUT)') from None
        if not good:
            raise value
        result: T = value
        return result
