"""Vault as a source of settings: after the environment, before the defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.config.configuration.faults import ConfigError
from app.config.configuration.secret_paths import Secret, parse
from app.config.configuration.sections import VaultSettings

__all__ = ['VaultSource']


class VaultSource(PydanticBaseSettingsSource):
    """What ``VAULT_SECRETS`` names and the environment does not give.

    Arguments:
        given: what comes before: keywords and the environment.
    """

    def __init__(self, settings_cls: type[BaseSettings], given: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: they are read together."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values; raise `ConfigError` with one line for each that cannot be had."""
        own = {name: v for name, v in self._given.items() if name in VaultSettings.model_fields}
        try:
            settings = VaultSettings(**{name: v for name, v in own.items() if v != ''})
        except ValidationError:
            return {}  # that of all settings says so
        if not settings.vault_addr:
            return {}
        wanted = parse(settings.vault_secrets)
        _check_names(wanted, self.settings_cls)
        wanted = {n: secret for n, secret in wanted.items() if self._given.get(n) in (None, '')}
        return _read(settings, wanted) if wanted else {}


def _read(settings: VaultSettings, wanted: Mapping[str, Secret]) -> dict[str, Any]:
    # Only now: without Vault nothing of its client is loaded.
    from app.config.vault.kv import read
    from app.config.vault.starting import logged_in

    values, faults = logged_in(settings, lambda client, token: read(client, token, wanted))
    if faults:
        raise ConfigError('\n'.join(faults))
    return dict(values)


def _check_names(wanted: Mapping[str, Secret], settings_cls: type[BaseSettings]) -> None:
    known = [name for name in settings_cls.model_fields if not name.startswith('vault_')]
    faults = []
    for name, secret in wanted.items():
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        hint = f': did you mean {close[0].upper()}?' if close else ''
        faults.append(
            f'VAULT_SECRETS={name.upper()}={secret}: {name.upper()} cannot come from Vault: only '
            f"the app's own settings can, not those of Vault, Celery, boto3 or others{hint}"
        )
    if faults:
        raise ConfigError('\n'.join(faults))
