"""A server that answers as Vault does, over HTTP.

Its database engine makes real users on a real PostgreSQL, and drops them with their sessions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.vault import Vault

__all__ = ['running_vault']


def _handler(vault: Vault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def _serve(self) -> None:
            length = int(self.headers.get('Content-Length') or 0)
            body = json.loads(self.rfile.read(length) or b'{}')
            path = self.path.removeprefix('/v1/')
            with vault.lock:
                vault.headers[path] = dict(self.headers)
            if vault.hangs or vault.drips:
                vault.requests.append((self.command, path, body))
                self.close_connection = True
                if vault.drips:
                    self._drip()
                else:
                    vault.released.wait()
                return
            token = self.headers.get('X-Vault-Token', '')
            vault.released.wait(vault.slowness)
            status, answer = vault.answer(self.command, path, token, body)
            content = b'' if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Cache-Control', 'no-store')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _drip(self) -> None:
            self.wfile.write(b'HTTP/1.1 200 OK\r\nX-Slow: ')
            # Oftener than any time-out of a read.
            while not vault.released.wait(0.05):
                self.wfile.write(b'x')

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def running_vault(**behaviour: Any) -> Iterator[Vault]:
    """Run a server until the end of the block; arguments are those of `Vault`."""
    vault = Vault(**behaviour)

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def service_actions(self) -> None:
            """Called by the loop at least twice a second."""
            vault.end_what_is_over()

        def handle_error(self, *_: Any) -> None:
            """A client that has gone away is none of ours."""

    http = Http(('127.0.0.1', 0), _handler(vault))
    vault.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        vault.released.set()
        http.shutdown()
        http.server_close()
        thread.join()
        for lease_id in list(vault.leases):
            vault.end_lease(lease_id)
