"""Vault as a source of settings: after the environment, before the defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from be_queue import SettingError, extras
from be_queue.environment import closest
from be_queue.worker import redaction
from be_queue.worker.vault.secret_paths import Secret, parse
from be_queue.worker.vault.settings import VaultSettings

if TYPE_CHECKING:
    import hvac  # type: ignore[import-untyped]

__all__ = ['VaultSource']


class _OwnSettings(VaultSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra='ignore')


class VaultSource(PydanticBaseSettingsSource):
    """Reads what ``VAULT_SECRETS`` names and neither keywords nor the environment give.

    Arguments:
        given: the values of keywords and the environment.
    """

    def __init__(self, settings_cls: type[BaseSettings], given: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: all are read together."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values; raise `SettingError` with one line for each that is not there."""
        try:
            settings = _OwnSettings(**self._given)
        except ValidationError:
            return {}  # the validation of all settings says so
        if not settings.vault_addr:
            return {}
        if fault := extras.fault('vault', 'VAULT_ADDR is set'):
            raise SettingError(fault)
        secrets = parse(settings.vault_secrets)
        self._check_names(secrets)
        wanted = {n: secret for n, secret in secrets.items() if self._given.get(n) in (None, '')}
        if not wanted:
            return {}
        from be_queue.worker.vault.login import at_start  # without Vault, hvac is not loaded

        return at_start(settings, lambda client: _read(client, settings, wanted))

    def _check_names(self, secrets: Mapping[str, Secret]) -> None:
        known = [name for name in self.settings_cls.model_fields if not name.startswith('vault_')]
        faults = []
        for name, secret in secrets.items():
            if name not in known:
                close = closest(name, known, 0.7)
                hint = f': did you mean {close.upper()}?' if close else ''
                faults.append(
                    f'VAULT_SECRETS={name.upper()}={secret}: {name.upper()} cannot come from '
                    "Vault: only the app's own settings can, not those of Vault, Celery, boto3 or "
                    f'others{hint}'
                )
        if faults:
            raise SettingError('\n'.join(faults))


def _read(
    client: hvac.Client, settings: VaultSettings, wanted: Mapping[str, Secret]
) -> dict[str, str]:
    values, faults = {}, []
    data = cache(lambda path: _data(client, settings, path))
    for name, secret in wanted.items():
        try:
            where = f'{settings.vault_kv_mount}/data/{secret.path}'
            values[name] = _text(data(secret.path), secret.field, where)
        except SettingError as error:
            faults.append(f'VAULT_SECRETS={name.upper()}={secret}: {error}')
        else:
            redaction.keep(values[name])
    if faults:
        raise SettingError('\n'.join(faults))
    return values


def _data(client: hvac.Client, settings: VaultSettings, path: str) -> Mapping[str, Any]:
    """Return the fields of a secret; raise `SettingError` with why there are none."""
    from hvac import exceptions

    from be_queue.worker.vault.client import explained

    mount = settings.vault_kv_mount
    where = f'{mount}/data/{path}'
    write = f'vault kv put -mount={mount} {path}'
    try:
        answer = client.secrets.kv.v2.read_secret_version(
            path, mount_point=mount, raise_on_deleted_version=False
        )
    except exceptions.Forbidden as error:
        raise SettingError(str(explained(error))) from None
    except exceptions.InvalidPath:
        raise SettingError(
            f'there is nothing at {where}: write it with {write}, or check VAULT_KV_MOUNT, which '
            'must be a KV engine of version 2'
        ) from None
    data: Mapping[str, Any] | None = answer['data']['data']
    if data is None:
        raise SettingError(
            f'the latest version of {where} is deleted: undelete it, or write one with {write}'
        )
    return data


def _text(data: Mapping[str, Any], field: str, where: str) -> str:
    """Return the value of a field; raise `SettingError` when it cannot be a setting."""
    if field not in data:
        names = ', '.join(map(repr, sorted(data))) or 'none'
        raise SettingError(f'the secret at {where} has no field {field!r}: it has {names}')
    value = data[field]
    if value in (None, '') or isinstance(value, (dict, list)):
        kind = 'a list or a map' if isinstance(value, (dict, list)) else 'empty'
        raise SettingError(
            f'the field {field!r} of {where} is {kind}: it must be a text or a number'
        )
    return value if isinstance(value, str) else json.dumps(value)
