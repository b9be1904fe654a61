"""An hvac client whose requests end in time and whose errors fit in one line."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

import hvac  # type: ignore[import-untyped]
import requests
from hvac import exceptions
from urllib3 import Timeout

from be_queue import SettingError
from be_queue.worker import redaction
from be_queue.worker.vault.settings import VaultSettings

__all__ = ['REFUSALS', 'Session', 'UnavailableError', 'VaultError', 'connect', 'explained']

#: Vault answers and does not do it: statuses 400, 401, 403 and 404.
REFUSALS = (
    exceptions.InvalidRequest,
    exceptions.Unauthorized,
    exceptions.Forbidden,
    exceptions.InvalidPath,
)
#: Characters of Vault's own words in an error.
WORDS_LENGTH = 200


class VaultError(Exception):
    """Vault refuses a request, or what answers is not Vault."""


class UnavailableError(VaultError):
    """Vault gives no answer, or is sealed or overloaded: another try may help."""


class Session(requests.Session):
    """HTTP with a deadline, which never forwards credentials from https to http.

    Arguments:
        settings: where Vault is.
        seconds: for all requests together; each has ``VAULT_TIMEOUT`` at most.
    """

    def __init__(self, settings: VaultSettings, seconds: float = math.inf) -> None:
        super().__init__()
        self.verify = str(settings.vault_cacert) if settings.vault_cacert else True
        self._timeout = settings.vault_timeout
        self.end_within(seconds)

    def end_within(self, seconds: float) -> None:
        """Let no request take longer from now on."""
        self._deadline = time.monotonic() + seconds

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        left = min(self._timeout, self._deadline - time.monotonic())
        with contextlib.suppress(requests.Timeout):
            if left > 0:
                return super().request(*args, **(kwargs | {'timeout': Timeout(total=left)}))
        raise UnavailableError(f'no answer in time (VAULT_TIMEOUT={self._timeout:g})')

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # A standby redirects to the active node, another host, where the token must go too.
        target: str | None = super().get_redirect_target(resp)
        if target is not None and resp.url.startswith('https:'):
            after = urlsplit(urljoin(resp.url, target))
            if after.scheme != 'https':
                resp.close()
                raise VaultError(
                    f'status {resp.status_code} redirects to {after.scheme}://{after.hostname}, '
                    'where the login would be readable: check VAULT_ADDR'
                )
        return target


def connect(settings: VaultSettings, session: Session) -> hvac.Client:
    """Return a client without a token."""
    return hvac.Client(
        url=settings.vault_addr,
        token='',  # not None: hvac would look for a developer's token in the home directory
        namespace=settings.vault_namespace,
        session=session,
    )


def explained(error: Exception) -> VaultError | SettingError:
    """Return an error of a request as a line without secrets."""
    if isinstance(error, (VaultError, SettingError)):
        return error
    if isinstance(error, exceptions.VaultError):
        said = redaction.redacted(', '.join(error.errors or ()) or type(error).__name__)
        words = ' '.join(said.split())[:WORDS_LENGTH]
        path = urlsplit(error.url or '').path.removeprefix('/v1/')
        if not isinstance(error, REFUSALS):
            return UnavailableError(f'{words} (at {path})')
        if isinstance(error, exceptions.Forbidden) and error.method == 'get':
            words += (
                f': give the policy of the login path "{path}" {{ capabilities = ["read"] }}, or '
                'the token is wrong or has ended: check VAULT_TOKEN, if it is set'
            )
        if error.errors is not None:
            return VaultError(f'Vault refuses {path}: {words}')
    if isinstance(error, requests.exceptions.SSLError):
        return UnavailableError(
            'its certificate is not accepted: check VAULT_CACERT, and https in VAULT_ADDR'
        )
    if isinstance(error, requests.ConnectionError):
        # urllib3 says the cause last: Failed to establish ...: [Errno 111] Connection refused'))
        cause = str(error).rpartition(': ')[2].rstrip('\'")')
        return UnavailableError(f'no connection: {cause}')
    # Nothing of its text: that of a header which cannot be sent shows the token.
    return VaultError(f'the answer is not one of Vault ({type(error).__name__}): check VAULT_ADDR')
