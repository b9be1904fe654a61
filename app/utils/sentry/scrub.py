"""Takes secrets out of a report: those under a name that says so, and those that are known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from celery import current_app
from pydantic import SecretStr

from app.config.configuration import Config
from be_queue.redact import redact

__all__ = ['known_secrets', 'scrub']

MASK = '***'
#: Characters. A shorter secret is no secret, and would take half of the report with it.
SHORTEST = 4
#: Characters. A shorter secret may be a part of other words, and is one only as a whole word.
LONG = 8
VARIABLES = ('AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')


def known_secrets(config: Config) -> re.Pattern[str] | None:
    """Return what finds the secrets of the settings in each form that a text may hold them."""
    forms = set()
    for secret in _secrets(config):
        # As in a URL, and within the repr of a text.
        forms |= {secret, quote(secret, safe=''), quote(secret), repr(secret)[1:-1]}
    patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
    found = '|'.join(pattern for pattern in patterns if pattern)
    return re.compile(found) if found else None


def scrub(report: Any, secrets: re.Pattern[str] | None) -> Any:
    """Return ``report`` without URLs' passwords, what a secret's name names, and ``secrets``."""
    report = redact(report)
    return report if secrets is None else _replaced(report, secrets)


def _secrets(config: Config) -> Iterator[str]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
    conf = current_app.conf
    urls = [config.ratelimit_redis_url, conf.result_backend]
    if config.embedded_sqs_port is None:  # which takes any login
        urls += [config.sqs_url, conf.broker_url]
    for url in urls:
        yield unquote(_password(str(url or '')))
    for variable in VARIABLES:
        yield os.environ.get(variable, '')


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ''
    except ValueError:
        return ''


def _pattern(secret: str) -> str:
    if len(secret) < SHORTEST:
        return ''
    escaped = re.escape(secret)
    return escaped if len(secret) >= LONG else rf'(?<!\w){escaped}(?!\w)'


def _replaced(value: Any, secrets: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return secrets.sub(MASK, value)
    if isinstance(value, dict):
        return {_replaced(k, secrets): _replaced(inner, secrets) for k, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, secrets) for inner in value]
    return value
