"""HTTP that takes a login nowhere but where it may be seen."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from app.config.vault.errors import AddressError

__all__ = ['Session']

#: Statuses after which requests sends a POST on as a GET, without its body.
TURN_TO_GET = (301, 302, 303)


class Session(requests.Session):
    """A session of ``requests``, for one request.

    A standby of Vault leads on to the active node, another host: a token and a body go along.

    Arguments:
        verify: the certificates by which the server's is checked; True is the system's.
    """

    def __init__(self, verify: str | bool) -> None:
        super().__init__()
        self.verify = verify

    def get_redirect_target(self, resp: Any) -> str | None:
        """Return where an answer leads; raise `AddressError` if the request must not go there."""
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        before, after = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
        # Without a login or a query that somebody has put in there.
        where = f'{after.scheme}://{after.netloc.rpartition("@")[2]}'
        fault = ''
        if before.scheme == 'https' and after.scheme != 'https':
            fault = f'it leads on to {where}, where the login would be seen: check VAULT_ADDR'
        elif resp.request.method == 'POST' and resp.status_code in TURN_TO_GET:
            fault = (
                f'it leads on to {where} by status {resp.status_code}, which loses what is sent: '
                f'set VAULT_ADDR to {where}'
            )
        if fault:
            # It is not read to its end, and so its connection is not the session's to close.
            resp.close()
            raise AddressError(fault)
        return target
