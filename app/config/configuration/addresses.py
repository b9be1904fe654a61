"""Addresses of servers, as people write them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ['check_sqs_endpoint', 'embedded_port', 'ratelimit_url']

EMBEDDED = re.compile(r'embedded(?::(\d{1,5}))?')
EMBEDDED_PORT = 4566
#: The rate-limit service's own.
RATELIMIT_PORT = 8080


def embedded_port(text: str) -> int | None:
    """Return the port of ``embedded`` or ``embedded:PORT``; None for another text."""
    match = EMBEDDED.fullmatch(text)
    return int(match[1] or EMBEDDED_PORT) if match else None


def check_sqs_endpoint(text: str) -> None:
    """Raise ValueError unless it is a URL without a path, or names the embedded server."""
    port = embedded_port(text)
    if port is not None and port <= 65535:
        return
    url = urlsplit(text)
    if url.scheme not in ('http', 'https') or not url.hostname or url.path not in ('', '/'):
        raise ValueError(
            "a URL such as http://127.0.0.1:4566, 'embedded', or empty for Amazon's own"
        )


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
