"""Logs in to Vault, by one of four methods."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from random import uniform
from typing import Any, TypeVar

import hvac  # type: ignore[import-untyped]
from pydantic import SecretStr

from be_queue import SettingError
from be_queue.worker import redaction
from be_queue.worker.vault.client import (
    REFUSALS,
    Session,
    UnavailableError,
    VaultError,
    connect,
    explained,
)
from be_queue.worker.vault.settings import VaultSettings

__all__ = ['METHODS', 'at_start', 'auth_method', 'log_in', 'log_out']

T = TypeVar('T')

#: The settings that each method needs; of the first two, one.
METHODS = {
    'token': ('vault_token', 'vault_token_file'),
    'approle': ('vault_role_id', 'vault_secret_id'),
    'kubernetes': ('vault_k8s_role',),
    'aws': ('vault_aws_role',),
}
#: Tries of the start while Vault is unavailable, and seconds between them at most, times the try.
TRIES = 3
PAUSE_SECONDS = 0.5
#: By which AWS tells Vault who we are.
IDENTITY = 'Action=GetCallerIdentity&Version=2011-06-15'


def auth_method(settings: VaultSettings) -> str:
    """Return how to log in.

    Raises `SettingError` when that is not clear, or a setting of it is missing.
    """
    given = [m for m, names in METHODS.items() if any(getattr(settings, n) for n in names)]
    method: str | None = settings.vault_auth_method
    if method is None:
        if len(given) != 1:
            raise SettingError(
                'VAULT_AUTH_METHOD must be token, approle, kubernetes or aws, since there are '
                f'settings of {" and ".join(given) or "none of them"}'
            )
        (method,) = given
    missing = [name.upper() for name in METHODS[method] if not getattr(settings, name)]
    if method == 'token' and method not in given:
        raise SettingError(f'VAULT_AUTH_METHOD=token: set {" or ".join(missing)}')
    if method != 'token' and missing:
        raise SettingError(f'VAULT_AUTH_METHOD={method}: set {" and ".join(missing)}')
    return method


def log_in(client: hvac.Client, settings: VaultSettings) -> Mapping[str, Any]:
    """Give the client a token; return its ``lease_duration`` and whether it is ``renewable``.

    It returns nothing for a token that was given.

    Raises `SettingError` for a setting that cannot be used, and errors that `explained` takes.
    """
    method = auth_method(settings)
    mount = settings.vault_auth_mount or method
    answer: Any = {'auth': {}}
    try:
        if method == 'token':
            client.token = _secret(settings.vault_token) or _content(settings, 'vault_token_file')
        elif method == 'approle':
            role, secret = settings.vault_role_id, _secret(settings.vault_secret_id)
            answer = client.auth.approle.login(role, secret, mount_point=mount)
        elif method == 'kubernetes':
            jwt = _content(settings, 'vault_k8s_token_file')
            answer = client.auth.kubernetes.login(settings.vault_k8s_role, jwt, mount_point=mount)
        else:
            identity = _signed_identity(settings)
            answer = client.adapter.login(f'/v1/auth/{mount}/login', json=identity)
    except REFUSALS as error:
        names = ' and '.join(name.upper() for name in METHODS[method])
        raise VaultError(f'{explained(error)}: check {names}, and VAULT_AUTH_MOUNT') from None
    redaction.add(client.token)
    return dict(answer['auth'])


def log_out(client: hvac.Client, settings: VaultSettings) -> bool:
    """Revoke a token of ours with its leases; return False when they live on.

    That is so for a token that was given, for a batch token, and when a policy forbids it.
    """
    if auth_method(settings) != 'token':
        with contextlib.suppress(*REFUSALS):
            client.logout(revoke_token=True)
            return True
    return False


def at_start(settings: VaultSettings, action: Callable[[hvac.Client], T]) -> T:
    """Log in, return what ``action`` returns, and log out.

    It tries three times while Vault is unavailable, for three times ``VAULT_TIMEOUT`` at most, and
    a second to log out. Raises `SettingError`.
    """
    session = Session(settings, TRIES * settings.vault_timeout)
    first: Exception | None = None
    for attempt in range(TRIES):
        time.sleep(uniform(0, PAUSE_SECONDS * attempt))
        client = connect(settings, session)
        try:
            log_in(client, settings)
            try:
                return action(client)
            finally:
                client.session = Session(settings, 1)  # the time of the start may be over
                with contextlib.suppress(Exception):
                    log_out(client, settings)
        except SettingError:
            raise
        except Exception as error:  # noqa: BLE001  (an answer that is not Vault's raises any)
            fault = explained(error)
        if not isinstance(fault, UnavailableError):
            raise SettingError(f'VAULT_ADDR={settings.vault_addr}: {fault}')
        # Later ones may say no more than that the time is over.
        first = first or fault
    raise SettingError(
        f'VAULT_ADDR={settings.vault_addr}: {first}: check that Vault is there, up and unsealed'
    )


def _secret(setting: SecretStr | None) -> str:
    secret = setting.get_secret_value().strip() if setting is not None else ''
    redaction.add(secret)
    return secret


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
    redaction.add(text)
    return text


def _signed_identity(settings: VaultSettings) -> dict[str, str | None]:
    """Return a login by AWS IAM: a signed request that Vault sends to STS.

    Not by hvac's ``iam_login``, which signs for the global STS alone
    (https://github.com/hvac/hvac/issues/251). Credentials come from boto3's usual chain.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import get_session

    # At level DEBUG it logs the whole request, which for minutes is as good as a password.
    logging.getLogger('botocore.auth').setLevel(logging.INFO)
    region = settings.vault_aws_sts_region
    host = f'sts.{region}.amazonaws.com' if region else 'sts.amazonaws.com'
    headers = {'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8', 'Host': host}
    if settings.vault_aws_server_id:
        headers['X-Vault-AWS-IAM-Server-ID'] = settings.vault_aws_server_id
    request = AWSRequest('POST', f'https://{host}/', headers, IDENTITY)
    try:
        credentials = get_session().get_credentials().get_frozen_credentials()
        SigV4Auth(credentials, 'sts', region or 'us-east-1').add_auth(request)
    except Exception as error:  # noqa: BLE001  (each source of credentials has its own)
        # Its text is not passed on: that of a program may hold what the program printed.
        raise SettingError(
            f'VAULT_AWS_ROLE={settings.vault_aws_role}: there are no AWS credentials to sign with '
            f'({type(error).__name__}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, '
            'AWS_PROFILE, or the role of the machine'
        ) from None
    signed = json.dumps({name: [value] for name, value in request.headers.items()})
    texts = {'url': request.url, 'body': IDENTITY, 'headers': signed}
    encoded = {f'iam_request_{n}': b64encode(t.encode()).decode() for n, t in texts.items()}
    redaction.add(encoded['iam_request_headers'])
    return {'role': settings.vault_aws_role, 'iam_http_request_method': 'POST', **encoded}
