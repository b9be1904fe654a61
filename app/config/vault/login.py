"""Logs in to Vault, by one of four ways."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app import redaction
from app.config.configuration.sections import VaultSettings
from app.config.vault.answers import seconds
from app.config.vault.client import Client
from app.config.vault.errors import (
    AddressError,
    DeniedError,
    LoginError,
    MissingError,
    RefusedError,
)

__all__ = ['WAYS', 'Token', 'login', 'token_of', 'way']

#: The settings that each way needs; of the first two, one.
WAYS = {
    'token': ('vault_token', 'vault_token_file'),
    'approle': ('vault_role_id', 'vault_secret_id'),
    'kubernetes': ('vault_k8s_role',),
    'aws': ('vault_aws_role',),
}


@dataclass(frozen=True)
class Token:
    """What requests are allowed by.

    Arguments:
        ttl: seconds that it lasts; 0 is for ever, or not known.
        renewable: whether Vault may prolong it.
        own: whether we got it by a login, so that it is ours to revoke.
        got_at: when, by the monotonic clock.
    """

    text: str = field(repr=False)
    ttl: float
    renewable: bool
    own: bool
    got_at: float

    @property
    def ends_at(self) -> float:
        """When it ends, by the monotonic clock, and its leases with it."""
        return self.got_at + self.ttl if self.ttl else float('inf')

    def advice(self, path: str) -> str:
        """Return what to do when Vault denies it to read a path."""
        login = '' if self.own else ', or the token is wrong or has ended: check VAULT_TOKEN'
        return f'give the policy of the login path "{path}" {{ capabilities = ["read"] }}{login}'


def way(settings: VaultSettings) -> str:
    """Return how to log in.

    Raises `LoginError` when that is not clear, or a setting of it is missing.
    """
    given = {way: [n for n in names if getattr(settings, n)] for way, names in WAYS.items()}
    chosen: str | None = settings.vault_auth_method
    if chosen is None:
        ways = [way for way, names in given.items() if names]
        if len(ways) != 1:
            raise LoginError(
                'VAULT_AUTH_METHOD must be token, approle, kubernetes or aws, since there are '
                f'settings of {" and ".join(ways) if ways else "none of them"}'
            )
        (chosen,) = ways
    enough = 1 if chosen == 'token' else len(WAYS[chosen])
    if len(given[chosen]) < enough:
        missing = [name.upper() for name in WAYS[chosen] if name not in given[chosen]]
        joined = (' or ' if chosen == 'token' else ' and ').join(missing)
        raise LoginError(f'VAULT_AUTH_METHOD={chosen}: set {joined}')
    return chosen


def login(client: Client) -> Token:
    """Return a token.

    Raises `LoginError` when the login is refused, `AwayError` when nobody says so or not.
    """
    settings = client.settings
    chosen = way(settings)
    if chosen == 'token':
        return _given_token(client)
    path = f'auth/{settings.vault_auth_mount or chosen}/login'
    body, hidden = _proof(client, chosen)
    try:
        answer = client.ask('POST', path, body, hidden=hidden)
    except (DeniedError, RefusedError, MissingError) as error:
        names = ' and '.join(name.upper() for name in WAYS[chosen])
        reason = 'nothing is mounted there' if isinstance(error, MissingError) else error
        raise LoginError(
            f'Vault refuses the login at {path}: {reason}: check {names}, and VAULT_AUTH_MOUNT'
        ) from None
    return token_of(answer, own=True)


def token_of(answer: Mapping[str, Any], *, own: bool) -> Token:
    """Return the token in the answer to a login or to a renewal.

    Raises `AddressError` when there is none.
    """
    auth = answer.get('auth') or {}
    text = auth.get('client_token')
    if not isinstance(text, str) or not text:
        raise AddressError('the answer holds no token: check VAULT_ADDR')
    redaction.add(text)
    return Token(
        text=text,
        ttl=seconds(auth.get('lease_duration')),
        renewable=bool(auth.get('renewable')),
        own=own,
        got_at=time.monotonic(),
    )


def _given_token(client: Client) -> Token:
    settings = client.settings
    if settings.vault_token is not None:
        text = settings.vault_token.get_secret_value().strip()
    else:
        text = _read(settings.vault_token_file, 'VAULT_TOKEN_FILE')
    data: dict[str, Any] = {}
    got_at = time.monotonic()
    path = 'auth/token/lookup-self'
    # A policy may forbid the look: then what the token may do is found out by doing it.
    with contextlib.suppress(DeniedError):
        try:
            data = client.ask('GET', path, token=text).get('data') or {}
        except MissingError:
            raise AddressError(f'there is no {path}, as Vault has it: check VAULT_ADDR') from None
    return Token(
        text=text,
        ttl=seconds(data.get('ttl')),
        renewable=bool(data.get('renewable')),
        own=False,
        got_at=got_at,
    )


def _proof(client: Client, chosen: str) -> tuple[dict[str, str], list[str]]:
    """Return the body of a login, and what of it nobody may see."""
    settings = client.settings
    if chosen == 'approle':
        assert settings.vault_secret_id is not None
        secret = settings.vault_secret_id.get_secret_value().strip()
        return {'role_id': str(settings.vault_role_id), 'secret_id': secret}, [secret]
    if chosen == 'kubernetes':
        jwt = _read(settings.vault_k8s_token_file, 'VAULT_K8S_TOKEN_FILE')
        return {'role': str(settings.vault_k8s_role), 'jwt': jwt}, [jwt]
    # Only now: it takes botocore.
    from app.config.vault.aws import signed_identity

    try:
        identity = client.within(
            lambda: signed_identity(settings.vault_aws_server_id, settings.vault_aws_sts_region)
        )
    except RefusedError as error:
        raise LoginError(
            f'VAULT_AWS_ROLE={settings.vault_aws_role}: {error}: check AWS_ACCESS_KEY_ID and '
            'AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine'
        ) from None
    return {'role': str(settings.vault_aws_role), **identity}, [identity['iam_request_headers']]


def _read(path: Path | None, name: str) -> str:
    assert path is not None
    try:
        text = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'not a text'
        raise LoginError(f'{name}={path}: cannot be read: {reason}') from None
    if not text:
        raise LoginError(f'{name}={path}: the file is empty')
    return text
