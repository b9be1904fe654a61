"""A server at Vault's address that is not Vault: it answers all alike."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

__all__ = ['Other', 'running_other']


@dataclass
class Other:
    """How it answers; ``leads_to`` is a URL that each path is sent on to."""

    url: str
    status: int = 200
    body: str = ''
    content_type: str = 'application/json'
    leads_to: str = ''
    #: The file of the authority that vouches for it; nobody else trusts it.
    ca_file: str = ''
    #: How many requests it has had.
    requests: int = 0


@contextmanager
def running_other(*, tls: bool = False) -> Iterator[Other]:
    """Run a server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            other.requests += 1
            self.rfile.read(int(self.headers.get('Content-Length') or 0))
            self.send_response(other.status, 'x')
            self.send_header('Content-Type', other.content_type)
            self.send_header('Content-Length', str(len(other.body)))
            if other.leads_to:
                self.send_header('Location', other.leads_to + self.path)
            self.end_headers()
            self.wfile.write(other.body.encode())

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Http(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone away is none of ours."""

    http = Http(('127.0.0.1', 0), Handler)
    other = Other(f'{"https" if tls else "http"}://127.0.0.1:{http.server_port}')
    with ExitStack() as stack:
        if tls:
            authority = trustme.CA()
            other.ca_file = stack.enter_context(authority.cert_pem.tempfile())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert('127.0.0.1').configure_cert(context)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield other
        finally:
            http.shutdown()
            http.server_close()
            thread.join()
