"""What the server asks of its own children."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app import server
from tests.support.ports import free_port


class Ready(BaseHTTPRequestHandler):
    """The web server of a worker that consumes."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == '/readyz' else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def test_readiness_is_not_asked_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{free_port()}')
    for name in ('no_proxy', 'NO_PROXY', 'REQUEST_METHOD'):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(('127.0.0.1', 0), Ready) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            assert server._is_ready(f'http://127.0.0.1:{web.server_port}')
        finally:
            web.shutdown()
            thread.join()
