"""Logs in to Vault, by one of four methods."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import uniform
from typing import Any, TypeVar

import hvac  # type: ignore[import-untyped]
from hvac import exceptions
from pydantic import SecretStr

from be_queue import SettingError
from be_queue.worker import redaction
from be_queue.worker.vault.client import (
    ERRORS,
    REFUSALS,
    Session,
    UnavailableError,
    VaultError,
    connect,
    explained,
)
from be_queue.worker.vault.settings import VaultSettings

__all__ = ['METHODS', 'Grant', 'at_start', 'auth_method', 'log_in', 'log_out']

T = TypeVar('T')

logger = logging.getLogger(__name__)

#: The settings that each method needs; of the first two, one.
METHODS = {
    'token': ('vault_token', 'vault_token_file'),
    'approle': ('vault_role_id', 'vault_secret_id'),
    'kubernetes': ('vault_k8s_role',),
    'aws': ('vault_aws_role',),
}
#: The part of its life after which a token or a lease is renewed or replaced.
USE_PART = 2 / 3
#: The part of its first life that a renewal must give; with less it is close to its last end.
WORTH_PART = 0.9
#: Tries of the start while Vault is unavailable, and seconds between them at most, times the try.
TRIES = 3
PAUSE_SECONDS = 0.5


@dataclass
class Grant:
    """A token or a lease, which Vault grants for a time.

    Arguments:
        id: the token itself, or the lease's name.
        ttl: seconds that it lasts; 0 is for ever.
        renewable: whether Vault may prolong it.
    """

    id: str = field(repr=False)
    ttl: float
    renewable: bool
    got_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.first_ttl = self.ttl

    @property
    def ends_at(self) -> float:
        """When it ends, by the monotonic clock."""
        return self.got_at + self.ttl if self.ttl else math.inf

    @property
    def due_at(self) -> float:
        """When it is to be renewed or replaced, by the monotonic clock."""
        return self.got_at + USE_PART * self.ttl if self.ttl else math.inf

    def keep(self, renew: Callable[[], Mapping[str, Any]]) -> bool:
        """Renew it when that is due; return False when another must replace it."""
        if self.renewable and self.due_at <= time.monotonic():
            try:
                self.ttl, self.got_at = float(renew()['lease_duration']), time.monotonic()
            except REFUSALS as error:
                logger.info('%s: another one is asked for', explained(error))
                self.renewable = False
        return self.due_at > time.monotonic() and self.ttl >= WORTH_PART * self.first_ttl


def auth_method(settings: VaultSettings) -> str:
    """Return how to log in.

    Raises `SettingError` when that is not clear, or a setting of it is missing.
    """
    given = {m: [n for n in names if getattr(settings, n)] for m, names in METHODS.items()}
    method: str | None = settings.vault_auth_method
    if method is None:
        methods = [m for m, names in given.items() if names]
        if len(methods) != 1:
            raise SettingError(
                'VAULT_AUTH_METHOD must be token, approle, kubernetes or aws, since there are '
                f'settings of {" and ".join(methods) if methods else "none of them"}'
            )
        (method,) = methods
    needed = METHODS[method]
    if len(given[method]) < (1 if method == 'token' else len(needed)):
        missing = [name.upper() for name in needed if name not in given[method]]
        joined = (' or ' if method == 'token' else ' and ').join(missing)
        raise SettingError(f'VAULT_AUTH_METHOD={method}: set {joined}')
    return method


def log_in(client: hvac.Client, settings: VaultSettings) -> Grant:
    """Give the client a token, and return it.

    Raises `SettingError` for a setting that cannot be used, and `ERRORS`.
    """
    method = auth_method(settings)
    mount = settings.vault_auth_mount or method
    try:
        if method == 'token':
            client.token = _secret(settings.vault_token) or _content(settings, 'vault_token_file')
            grant: Mapping[str, Any] = {'ttl': 0, 'renewable': False}
            # A policy may forbid it; what the token may do shows when it is used.
            with contextlib.suppress(exceptions.Forbidden):
                grant = client.auth.token.lookup_self()['data']
            return Grant(client.token, float(grant['ttl']), grant['renewable'])
        if method == 'approle':
            role, secret = settings.vault_role_id, _secret(settings.vault_secret_id)
            answer = client.auth.approle.login(role, secret, mount_point=mount)
        elif method == 'kubernetes':
            jwt = _content(settings, 'vault_k8s_token_file')
            answer = client.auth.kubernetes.login(settings.vault_k8s_role, jwt, mount_point=mount)
        else:
            from be_queue.worker.vault.aws import signed_identity  # it loads botocore

            data = {'role': settings.vault_aws_role, **signed_identity(settings)}
            answer = client.write_data(f'auth/{mount}/login', data=data)
    except REFUSALS as error:
        names = ' and '.join(name.upper() for name in METHODS[method])
        raise VaultError(f'{explained(error)}: check {names}, and VAULT_AUTH_MOUNT') from None
    grant = answer['auth']
    client.token = _known(grant['client_token'])
    return Grant(client.token, float(grant['lease_duration']), grant['renewable'])


def log_out(client: hvac.Client, settings: VaultSettings) -> bool:
    """Revoke a token that is ours, with its leases; return False for one that was given."""
    ours = auth_method(settings) != 'token'
    if ours:
        client.logout(revoke_token=True)
    return ours


def at_start(settings: VaultSettings, action: Callable[[hvac.Client], T]) -> T:
    """Log in, return what ``action`` returns, and log out.

    It tries three times while Vault is unavailable, for three times ``VAULT_TIMEOUT`` at most, and
    a second to log out. Raises `SettingError`.
    """
    session = Session(settings, TRIES * settings.vault_timeout)
    first: VaultError | None = None
    for attempt in range(TRIES):
        time.sleep(uniform(0, PAUSE_SECONDS * attempt))
        client = connect(settings, session)
        try:
            log_in(client, settings)
            try:
                return action(client)
            finally:
                client.session = Session(settings, 1)  # the time of the start may be over
                with contextlib.suppress(*ERRORS):
                    log_out(client, settings)
        except ERRORS as error:
            fault = explained(error)
        if not isinstance(fault, UnavailableError):
            raise SettingError(f'VAULT_ADDR={settings.vault_addr}: {fault}')
        # Later ones may say no more than that the time is over.
        first = first or fault
    raise SettingError(
        f'VAULT_ADDR={settings.vault_addr}: {first}: check that Vault is there, up and unsealed'
    )


def _secret(setting: SecretStr | None) -> str:
    return _known(setting.get_secret_value()) if setting is not None else ''


def _content(settings: VaultSettings, name: str) -> str:
    """Return what the file of a setting holds."""
    path: Path = getattr(settings, name)
    try:
        text = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'not a text'
        raise SettingError(f'{name.upper()}={path}: cannot be read: {reason}') from None
    if not text:
        raise SettingError(f'{name.upper()}={path}: the file is empty')
    return _known(text)


def _known(secret: str) -> str:
    """Return a secret that the redaction of logs knows from now on."""
    redaction.add(secret.strip())
    return secret.strip()
