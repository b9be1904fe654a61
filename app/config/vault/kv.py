"""Reads secrets of the KV engine, version 2."""

from __future__ import annotations

import json
from collections.abc import Mapping

from app import redaction
from app.config.configuration.secret_paths import Secret
from app.config.vault.client import Client
from app.config.vault.errors import DeniedError, MissingError, RefusedError
from app.config.vault.login import Token

__all__ = ['read']


def read(
    client: Client, token: Token, wanted: Mapping[str, Secret]
) -> tuple[dict[str, str], list[str]]:
    """Return the values that are there, and one line for each that is not.

    Each path is asked for once, however many settings are there.

    Raises `AwayError` and `AddressError`.
    """
    values: dict[str, str] = {}
    faults: list[str] = []
    answers: dict[str, Mapping[str, object] | str] = {}
    for name, secret in wanted.items():
        if secret.path not in answers:
            answers[secret.path] = _secret(client, token, secret.path)
        answer = answers[secret.path]
        try:
            values[name] = _field(client, answer, secret)
        except RefusedError as error:
            faults.append(f'VAULT_SECRETS={name.upper()}={secret}: {error}')
    return values, faults


def _secret(client: Client, token: Token, path: str) -> Mapping[str, object] | str:
    """Return the data of a secret, or why there is none."""
    mount = client.settings.vault_kv_mount
    where = f'{mount}/data/{path}'
    try:
        answer = client.ask('GET', where, token=token.text)
    except DeniedError as error:
        return f'Vault refuses to read {where}: {error}: {token.advice(where)}'
    except MissingError as error:
        if str(error) == 'deleted':
            return (
                f'the latest version of {where} is deleted: undelete it, or write a new one with '
                f'vault kv put -mount={mount} {path}'
            )
        return (
            f'there is nothing at {where}: write it with vault kv put -mount={mount} {path}, or '
            'check VAULT_KV_MOUNT, which must be a KV engine of version 2'
        )
    except RefusedError as error:
        return f'Vault refuses to read {where}: {error}'
    outer = answer.get('data')
    data = outer.get('data') if isinstance(outer, dict) else None
    if not isinstance(data, dict):
        return (
            f'the answer for {where} is not one of a KV engine of version 2: check VAULT_KV_MOUNT'
        )
    return data


def _field(client: Client, answer: Mapping[str, object] | str, secret: Secret) -> str:
    """Return the value of a field; raise `RefusedError` with why there is none."""
    if isinstance(answer, str):
        raise RefusedError(answer)
    where = f'{client.settings.vault_kv_mount}/data/{secret.path}'
    if secret.field not in answer:
        raise RefusedError(
            f'the secret at {where} has no field {secret.field!r}: it has '
            f'{", ".join(map(repr, sorted(answer))) or "none"}'
        )
    value = answer[secret.field]
    if value is None or value == '' or isinstance(value, (dict, list)):
        kind = 'empty' if not value else 'a list or a map'
        raise RefusedError(
            f'the field {secret.field!r} of {where} is {kind}: it must be a text or a number'
        )
    text = value if isinstance(value, str) else json.dumps(value)
    redaction.keep(text)
    return text
