"""Where Vault is, how to log in, and which settings come from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, SecretStr, field_serializer, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from be_queue.redact import MASK

__all__ = ['Secret', 'VaultSettings', 'names', 'parse']

ADDRESS = re.compile(r'https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/[^\s?#]*)?', re.IGNORECASE)
MountPath = Annotated[str, Field(pattern=r'^[^/\s][^\s?#]*$')]


class Secret(NamedTuple):
    """A field of a secret.

    Arguments:
        path: below the mount of the KV engine.
        field: the key in the secret's data.
    """

    path: str
    field: str

    def __str__(self) -> str:
        return f'{self.path}#{self.field}'


@cache
def parse(text: str) -> Mapping[str, Secret]:
    """Return the secret of each setting in VAULT_SECRETS, by the setting's name in lower case.

    Raises `ValueError` with what must be written instead.
    """
    found: dict[str, Secret] = {}
    for entry in filter(None, (part.strip() for part in text.split(','))):
        name, _, place = entry.partition('=')
        path, _, field = place.rpartition('#')
        name, path, field = name.strip().lower(), path.strip().strip('/'), field.strip()
        if not (name and path and field):
            raise ValueError(
                f'NAME=path#field, separated by commas, and {entry!r} is not: for example '
                'RESULT_DB_PASS=worker/db#password'
            )
        if name in found:
            raise ValueError(f'without two entries for {name.upper()}')
        found[name] = Secret(path, field)
    return found


def names(text: str) -> frozenset[str]:
    """Return the names of the settings, in lower case; none when the text cannot be read."""
    try:
        return frozenset(parse(text))
    except ValueError:
        return frozenset()


class VaultSettings(BaseSettings):
    """How to log in to HashiCorp Vault, and which settings come from there."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    vault_addr: str | None = None
    """URL of Vault; off until it is set."""
    vault_namespace: str | None = None
    """Vault's namespace."""
    vault_cacert: Path | None = None
    """The certificates by which Vault's own is checked, a file or a folder; by default the
    system's."""
    vault_timeout: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """Seconds for a request; the start takes three times as long at most, and one to log out."""

    vault_auth_method: Literal['token', 'approle', 'kubernetes', 'aws'] | None = None
    """`token`, `approle`, `kubernetes` or `aws`; by default the one of which a setting below is
    given."""
    vault_auth_mount: MountPath | None = None
    """Where the login is mounted; by default at its name."""
    vault_token: SecretStr | None = None
    """Login by a token."""
    vault_token_file: Path | None = None
    """Login by a token in a file that another program, such as Vault's agent, keeps."""
    vault_role_id: str | None = None
    """Login by AppRole: the role."""
    vault_secret_id: SecretStr | None = None
    """Login by AppRole: its secret."""
    vault_k8s_role: str | None = None
    """Login by Kubernetes: the role."""
    vault_k8s_token_file: Path = Path('/var/run/secrets/kubernetes.io/serviceaccount/token')
    """Login by Kubernetes: the service account's token."""
    vault_aws_role: str | None = None
    """Login by AWS IAM: the role."""
    vault_aws_server_id: str | None = None
    """Login by AWS IAM: the header `X-Vault-AWS-IAM-Server-ID`, if Vault wants it."""
    vault_aws_sts_region: str | None = None
    """Login by AWS IAM: the region of STS; by default the global one."""

    vault_kv_mount: MountPath = 'secret'
    """Where the KV engine, version 2, is mounted."""
    vault_secrets: str = ''
    """Settings that come from there: `NAME=path#field,NAME=path#field`."""
    vault_db_role: MountPath | None = None
    """A role of the database engine, which then gives the login of the result database."""
    vault_db_mount: MountPath = 'database'
    """Where the database engine is mounted."""

    @field_validator('vault_addr')
    @classmethod
    def _legal_addr(cls, text: str | None) -> str | None:
        if text and not ADDRESS.fullmatch(text):
            raise ValueError('http:// or https://, a host and a port, such as https://vault:8200')
        return text

    @field_validator('vault_cacert')
    @classmethod
    def _legal_cacert(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError('a file or a folder that is there')
        return path

    @field_validator('vault_secrets')
    @classmethod
    def _legal_secrets(cls, text: str) -> str:
        parse(text)
        return text

    @field_serializer('*', mode='wrap', when_used='always', check_fields=False)
    def _hide(self, value: Any, serialize: Any, info: Any) -> Any:
        return MASK if info.field_name in parse(self.vault_secrets) else serialize(value)

    def __repr_args__(self) -> Any:
        hidden = parse(self.vault_secrets)
        return [(n, MASK if n in hidden else v) for n, v in super().__repr_args__()]

    @property
    def has_database_login(self) -> bool:
        """Whether Vault gives the login of the result database."""
        return bool(self.vault_addr and self.vault_db_role)
