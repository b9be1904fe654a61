"""Credentials that last some seconds, and an SQS server that refuses those that are over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.support.faulty import Handler, status

__all__ = ['Gate', 'container_credentials', 'key']

#: An access key is this and the second, since the epoch, up to which it is good.
PREFIX = 'AKIA'


def key(lifetime: float) -> str:
    """Return an access key that is good for some seconds."""
    return f'{PREFIX}{int(time.time() + lifetime)}'


class Gate:
    """A fault for every request: refuses, as AWS does, those whose credentials have expired."""

    def __init__(self) -> None:
        #: The access keys that were let through.
        self.used: set[str] = set()
        #: Those that are over before their time.
        self.revoked: set[str] = set()
        self._refuse = status(403, 'ExpiredTokenException')

    def __call__(self, handler: Handler) -> None:
        """Refuse a request, or have it done."""
        name = handler.headers['Authorization'].partition('Credential=')[2].partition('/')[0]
        if name in self.revoked or float(name.removeprefix(PREFIX)) <= time.time():
            self._refuse(handler)
        else:
            self.used.add(name)
            handler.answer(*handler.forward())


class _Login(BaseHTTPRequestHandler):
    server: _LoginServer

    def do_GET(self) -> None:
        name = key(self.server.lifetime)
        until = datetime.fromtimestamp(int(name.removeprefix(PREFIX)), timezone.utc)
        answer: dict[str, Any] = {
            'AccessKeyId': name,
            'SecretAccessKey': 'secret',
            'Token': 'token',
            'Expiration': until.strftime('%Y-%m-%dT%H:%M:%SZ'),
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


class _LoginServer(ThreadingHTTPServer):
    daemon_threads = True
    lifetime = 0.0


@contextmanager
def container_credentials(lifetime: float) -> Iterator[str]:
    """Serve credentials as ECS and EKS do; yield the URL. Each is good for ``lifetime`` seconds."""
    server = _LoginServer(('127.0.0.1', 0), _Login)
    server.lifetime = lifetime
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}/login'
    finally:
        server.shutdown()
        server.server_close()
