"""Types of settings that pydantic does not have; each says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr
from pydantic_settings import NoDecode

from be_queue.conf import SQS_ENDPOINT

LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
EMBEDDED_PORT = 4566
#: As the SDK reads it, which need not be installed here: key, host, port, path and project.
SENTRY_DSN = re.compile(
    r'https?://[^@:/\s]+(:[^@/\s]*)?@([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/\S+)?/\d+'
)
#: Characters of a password and a token that let somebody read and act: short ones are guessed.
MIN_PASSWORD = 8
MIN_TOKEN = 16
#: Names of databases and tables. Treasure Data's documentation once said 255 characters and now
#: says 128. See "Naming Requirements and Restrictions for Treasure Data Entities" there.
TD_NAME = re.compile(r'[a-z0-9_]{3,128}')
TD_NAME_RULE = "3 to 128 lower-case letters, digits and '_', for example page_views"


def _allow(allowed: str, fits: Callable[[Any], object]) -> AfterValidator:
    def check(value: Any) -> Any:
        if value and not fits(value):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


def _match(pattern: str, allowed: str) -> AfterValidator:
    return _allow(allowed, re.compile(pattern).fullmatch)


def _is_plain_url(text: str) -> bool:
    """Return whether ``text`` is a URL of http or https without a login, query and fragment."""
    try:
        url = HttpUrl(text)
    except ValueError:
        return False
    return not (url.username or url.password or url.query or url.fragment)


def _is_sqs_endpoint(text: str) -> bool:
    port = embedded_port(text)
    return port <= 65535 if port is not None else bool(SQS_ENDPOINT.fullmatch(text))


def embedded_port(text: str) -> int | None:
    """Return the port of ``embedded`` or ``embedded:PORT``; None for another text."""
    match = re.fullmatch(r'embedded(?::(\d{1,5}))?', text)
    return int(match[1] or EMBEDDED_PORT) if match else None


def _names(text: str) -> list[str]:
    return [name for name in map(str.strip, text.split(',')) if name]


def _levels(text: str) -> dict[str, str]:
    """Return the level of each logger in ``logger=LEVEL,logger=LEVEL``; raise ValueError."""
    levels = {}
    for part in _names(text):
        logger, _, level = (word.strip() for word in part.partition('='))
        if not logger or level.upper() not in LEVELS:
            raise ValueError(
                f'logger=LEVEL, separated by commas, with {", ".join(LEVELS[:-1])} or '
                f'{LEVELS[-1]}, for example sqlalchemy.engine=INFO,kombu=DEBUG; not {part!r}'
            )
        levels[logger] = level.upper()
    return levels


def _logins(text: str) -> dict[str, str]:
    """Return the password of each user in ``user:password user:password``; raise ValueError."""
    logins = dict(login.partition(':')[::2] for login in text.replace(',', ' ').split())
    if not all(user and len(password) >= MIN_PASSWORD for user, password in logins.items()):
        raise ValueError(
            f'USER:PASSWORD, several separated by commas or blanks, with {MIN_PASSWORD} characters '
            'or more in a password, and no comma or blank'
        )
    return logins


Port = Annotated[int, Field(ge=1, le=65535)]
EnvName = Annotated[str, _match('[A-Za-z0-9_-]+', "letters, digits, '-' and '_', for example prod")]
MetricsPrefix = Annotated[
    str, _match('[a-zA-Z_][a-zA-Z0-9_]*', "letters, digits and '_', without a digit in front")
]
LogLevel = Annotated[
    Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'],
    BeforeValidator(lambda text: str(text).upper()),
]
Names = Annotated[list[str] | None, NoDecode, BeforeValidator(_names)]
LogLevels = Annotated[dict[str, str], NoDecode, BeforeValidator(_levels)]
LogFormat = Annotated[
    Literal['auto', 'json', 'console'], BeforeValidator(lambda text: str(text).lower())
]
Host = Annotated[
    str,
    _match(
        '[A-Za-z0-9._-]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]+',
        'the name or the address of a host, without a scheme and a port',
    ),
]
HostOrIPv4 = Annotated[
    str,
    _match(
        r'(?!.{254})[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?',
        "a host's name or IPv4 address alone, for example localhost",
    ),
]
SqsEndpoint = Annotated[
    str,
    _allow(
        "a URL such as http://127.0.0.1:4566 without an IPv6 address, 'embedded', or empty for "
        "Amazon's own",
        _is_sqs_endpoint,
    ),
]
OtlpEndpoint = Annotated[
    str,
    _allow(
        'a URL without a login, for example http://localhost:4318; a login goes into '
        'OTEL_EXPORTER_OTLP_HEADERS',
        _is_plain_url,
    ),
]
RatelimitHost = Annotated[
    str,
    _allow(
        'host:port or a URL without a login, for example ratelimit:8080',
        lambda text: _is_plain_url(text if '://' in text else f'http://{text}'),
    ),
]
SentryDsn = Annotated[
    SecretStr,
    _allow(
        'a DSN such as https://KEY@sentry.example.com/42',
        lambda dsn: SENTRY_DSN.fullmatch(dsn.get_secret_value()),
    ),
]
Logins = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_logins)]
AdminToken = Annotated[
    SecretStr,
    _allow(
        f'{MIN_TOKEN} characters or more without blanks, for example of: openssl rand -hex 24',
        lambda token: re.fullmatch(rf'[!-~]{{{MIN_TOKEN},}}', token.get_secret_value()),
    ),
]
TdName = Annotated[str, _match(TD_NAME.pattern, TD_NAME_RULE)]
