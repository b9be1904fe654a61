"""Errors: app/utils/sentry."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

__all__ = ['SentrySettings']

EXAMPLE = 'a DSN such as https://KEY@sentry.example.com/42'


class SentrySettings(BaseSettings):
    """Where errors are reported to, and what of them."""

    #: Where errors are reported to; unset, they are not.
    sentry_dsn: SecretStr = SecretStr('')
    #: Whether reports hold the arguments of tasks and the local variables of the code that failed.
    sentry_send_arguments: bool = False
    #: The part of the errors that is reported.
    sentry_sample_rate: Annotated[float, Field(gt=0, le=1)] = 1.0

    @field_validator('sentry_dsn')
    @classmethod
    def _legal_dsn(cls, dsn: SecretStr) -> SecretStr:
        fault = _fault_of(dsn.get_secret_value())
        if fault:
            raise ValueError(f'{EXAMPLE}, and {fault}')
        return dsn


def _fault_of(dsn: str) -> str:
    if not dsn:
        return ''
    try:
        url = urlsplit(dsn)
        url.port  # noqa: B018  (raises when it is none)
    except ValueError:
        return 'it is no URL'
    if url.scheme not in ('http', 'https'):
        return 'it does not begin with https:// or http://'
    if not url.hostname:
        return 'it has no host'
    if not url.username:
        return "it has no key before an '@'"
    project = url.path.rpartition('/')[2]
    if not (project.isascii() and project.isdecimal()):
        return 'it does not end with the number of a project'
    return ''
