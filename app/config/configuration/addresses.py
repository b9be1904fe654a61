"""Addresses of servers, as people write them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = [
    'check_host',
    'check_ipv4_host',
    'check_otlp_endpoint',
    'check_sqs_endpoint',
    'embedded_port',
    'ratelimit_url',
]

EMBEDDED = re.compile(r'embedded(?::(\d{1,5}))?')
EMBEDDED_PORT = 4566
#: The rate-limit service's own.
RATELIMIT_PORT = 8080
HOST = re.compile(r'(?!.{254})[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?')


def embedded_port(text: str) -> int | None:
    """Return the port of ``embedded`` or ``embedded:PORT``; None for another text."""
    match = EMBEDDED.fullmatch(text)
    return int(match[1] or EMBEDDED_PORT) if match else None


def check_sqs_endpoint(text: str) -> None:
    """Raise ValueError unless it is a URL without a path, or names the embedded server."""
    port = embedded_port(text)
    if port is not None and port <= 65535:
        return
    try:
        url = urlsplit(text)
        sound = url.port != 0 and url.path in ('', '/')
    except ValueError:
        url, sound = urlsplit(''), False
    if ':' in (url.hostname or ''):
        # kombu, which gets the URL, reads none.
        raise ValueError("a URL with the host's name in place of an IPv6 address")
    if not sound or url.scheme not in ('http', 'https') or not url.hostname:
        raise ValueError(
            "a URL such as http://127.0.0.1:4566, 'embedded', or empty for Amazon's own"
        )


def check_ipv4_host(text: str) -> None:
    """Raise ValueError unless it is a host's name or its IPv4 address, and nothing more."""
    if not HOST.fullmatch(text):
        raise ValueError("a host's name or IPv4 address alone, for example localhost")


def ratelimit_url(text: str) -> str:
    """Return where a rate-limit service, given as ``host``, ``host:port`` or a URL, is asked.

    Raises ValueError for another text.
    """
    try:
        url = urlsplit(text if '://' in text else f'http://{text}')
        port = url.port or (RATELIMIT_PORT if '://' not in text else None)
    except ValueError:
        url, port = urlsplit(''), None
    is_plain = (
        text.isascii() and ' ' not in text and not (url.username or url.query or url.fragment)
    )
    if url.scheme not in ('http', 'https') or not url.hostname or not is_plain:
        raise ValueError('host:port or a URL without a login, for example ratelimit:8080')
    path = url.path.rstrip('/').removesuffix('/json')
    host = f'[{url.hostname}]' if ':' in url.hostname else url.hostname
    return f'{url.scheme}://{host}{f":{port}" if port else ""}{path}/json'


def check_host(text: str) -> None:
    """Raise ValueError unless it is the name or the IP address of a host, and nothing beside it."""
    if not re.fullmatch(r'[A-Za-z0-9._-]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]+', text):
        raise ValueError('the name or the address of a host, without a scheme and a port')


def check_otlp_endpoint(text: str) -> None:
    """Raise ValueError unless it is the base of the URLs that take OTLP over HTTP."""
    try:
        url = urlsplit(text)
        sound = url.scheme in ('http', 'https') and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not sound or not text.isascii() or ' ' in text or url.username or url.query or url.fragment:
        raise ValueError(
            'a URL without a login, for example http://localhost:4318; a login goes into '
            'OTEL_EXPORTER_OTLP_HEADERS'
        )
