"""The broker's URL, of the URL of an SQS server."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from be_queue.errors import SettingError
from be_queue.redact import redact

__all__ = ['broker_url']


def broker_url(endpoint: str) -> str:
    """Return ``sqs://[key:secret@]host[:port]``; without an endpoint ``sqs://``, for Amazon's own.

    Raises `SettingError` for an endpoint that is none.
    """
    if not endpoint:
        return 'sqs://'
    try:
        url = urlsplit(endpoint)
        port = f':{url.port}' if url.port else ''
    except ValueError:
        url, port = urlsplit(''), ''
    host = url.hostname or ''
    # kombu, which gets the URL, reads no IPv6 address.
    if url.scheme not in ('http', 'https') or not host or ':' in host or url.path not in ('', '/'):
        raise SettingError(
            f"SQS_ENDPOINT_URL={redact(endpoint)!r}: must be http:// or https://, a host's name or "
            'IPv4 address and a port, without a path, for example http://127.0.0.1:4566'
        )
    login = f'{url.username}:{quote(url.password or "", safe="%")}@' if url.username else ''
    return f'sqs://{login}{host}{port}'
