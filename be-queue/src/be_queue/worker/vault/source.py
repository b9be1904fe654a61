"""Vault as a source of settings: after the environment, before the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from be_queue import SettingError, extras
from be_queue.environment import closest
from be_queue.worker import redaction
from be_queue.worker.vault.settings import Secret, VaultSettings, parse

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
        known = self.settings_cls.model_fields.keys() - VaultSettings.model_fields.keys()
        for name in secrets.keys() - known:
            close = closest(name, known, 0.7)
            raise SettingError(
                f'VAULT_SECRETS={name.upper()}={secrets[name]}: {name.upper()} cannot come from '
                "Vault: only the app's own settings can, not those of Vault, Celery, boto3 or "
                f'others{f": did you mean {close.upper()}?" if close else ""}'
            )
        wanted = {n: secret for n, secret in secrets.items() if self._given.get(n) in (None, '')}
        if not wanted:
            return {}
        from be_queue.worker.vault.login import at_start  # without Vault, hvac is not loaded

        return at_start(settings, lambda client: _read(client, settings.vault_kv_mount, wanted))


def _read(client: hvac.Client, mount: str, wanted: Mapping[str, Secret]) -> dict[str, str]:
    values, faults = {}, []
    data = cache(lambda path: _data(client, mount, path))
    for name, secret in wanted.items():
        try:
            value = data(secret.path).get(secret.field)
            if value in (None, '') or not isinstance(value, (str, int, float)):
                raise SettingError(
                    f'{mount}/data/{secret.path} has no text or number in {secret.field!r}: its '
                    f'fields are {", ".join(map(repr, sorted(data(secret.path))))}'
                )
        except SettingError as error:
            faults.append(f'VAULT_SECRETS={name.upper()}={secret}: {error}')
        else:
            values[name] = str(value)
            redaction.keep(values[name])
    if faults:
        raise SettingError('\n'.join(faults))
    return values


def _data(client: hvac.Client, mount: str, path: str) -> Mapping[str, Any]:
    """Return the fields of a secret; raise `SettingError` with why there are none."""
    from hvac import exceptions

    from be_queue.worker.vault.client import explained

    try:
        answer = client.secrets.kv.v2.read_secret_version(
            path, mount_point=mount, raise_on_deleted_version=True
        )
    except exceptions.Forbidden as error:
        raise SettingError(str(explained(error))) from None
    except exceptions.InvalidPath:
        raise SettingError(
            f'there is nothing at {mount}/data/{path}, or its latest version is deleted: write it '
            f'with vault kv put -mount={mount} {path}, or check VAULT_KV_MOUNT, which must be a '
            'KV engine of version 2'
        ) from None
    data: Mapping[str, Any] = answer['data']['data']
    return data
