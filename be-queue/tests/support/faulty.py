"""An HTTP proxy before the SQS server that makes chosen requests fail."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeVar

from tests.support.faulty_service import FaultyService

Server = TypeVar('Server', bound=FaultyService)
Fault = Callable[['Handler'], None]

#: The requests of each kind of call: one message, or a batch of them.
RECEIVE = ('ReceiveMessage',)
DELETE = ('DeleteMessage', 'DeleteMessageBatch')
SEND = ('SendMessage', 'SendMessageBatch')
VISIBILITY = ('ChangeMessageVisibility', 'ChangeMessageVisibilityBatch')


def status(number: int, code: str) -> Fault:
    """Answer with an HTTP status and SQS's name for the fault."""

    def answer(handler: Handler) -> None:
        body = json.dumps({'__type': f'com.amazonaws.sqs#{code}', 'message': 'on purpose'})
        handler.answer(number, body.encode())

    return answer


def not_json(handler: Handler) -> None:
    """Answer as a captive portal does."""
    handler.answer(200, b'<html>Please log in</html>')


def reset(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True
    handler.connection.close()


def truncated(handler: Handler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header('Content-Length', '1000')
    handler.end_headers()
    handler.wfile.write(b'{"Messages": [')
    handler.close_connection = True


def no_answer(handler: Handler) -> None:
    """Keep the connection and say nothing until the fault is fixed."""
    handler.server.fixed.wait()
    handler.close_connection = True


def slow(seconds: float) -> Fault:
    """Have it done, but only after some time or once the fault is fixed."""

    def wait(handler: Handler) -> None:
        handler.server.fixed.wait(seconds)
        handler.answer(*handler.forward())

    return wait


def answer_lost(handler: Handler) -> None:
    """Have it done, and close the connection without an answer."""
    handler.forward()
    reset(handler)


def answer_cut_short(handler: Handler) -> None:
    """Have it done, and send half of the answer."""
    number, body = handler.forward()
    handler.send_response(number)
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


class FaultySqs(FaultyService):
    """Passes requests on to ``port`` but for those of operations that are in ``faults``."""

    def __init__(self, port: int) -> None:
        super().__init__(0, Handler)
        self.upstream = port
        self.faults: dict[str, Fault] = {}
        #: Requests by operation, the failed ones included.
        self.requests: Counter[str] = Counter()
        #: The same by operation and name of the queue, which is '' for those of no queue.
        self.asked: Counter[tuple[str, str]] = Counter()
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        return f'http://test:test@127.0.0.1:{self.port}'

    def count(self, operation: str, queue: str) -> None:
        """Count a request; each connection has a thread."""
        with self._counting:
            self.requests[operation] += 1
            self.asked[operation, queue] += 1

    def fail(self, operation: str, fault: Fault) -> None:
        """Have every request of an operation fail from now on; ``'*'`` is all that have no own."""
        self.fixed.clear()
        self.faults[operation] = fault

    def repair(self) -> None:
        """Let everything through again."""
        self.faults.clear()
        super().repair()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, and one to the SQS server behind it."""

    protocol_version = 'HTTP/1.1'
    # Without it, the body waits 40 ms for the client to acknowledge the headers.
    disable_nagle_algorithm = True
    server: FaultySqs

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers['Content-Length']))
        operation = self.headers.get('X-Amz-Target', '').rpartition('.')[2]
        # STS, which has no such header, sends a form.
        self.server.count(operation, queue_of(json.loads(self.body)) if operation else '')
        faults = self.server.faults
        fault = faults.get(operation) or faults.get('*')
        if fault is None:
            self.answer(*self.forward())
        else:
            fault(self)

    def forward(self) -> tuple[int, bytes]:
        """Have the SQS server do it; return its status and answer."""
        upstream = http.client.HTTPConnection('127.0.0.1', self.server.upstream, timeout=60)
        try:
            upstream.request('POST', self.path, self.body, dict(self.headers.items()))
            answer = upstream.getresponse()
            return answer.status, answer.read()
        finally:
            upstream.close()

    def answer(self, number: int, body: bytes) -> None:
        self.send_response(number)
        self.send_header('Content-Type', 'application/x-amz-json-1.0')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


def queue_of(request: dict[str, Any]) -> str:
    """Return the name of the queue that a request is about, '' for none."""
    url, arn = request.get('QueueUrl', ''), request.get('SourceArn', '')
    name: str = request.get('QueueName') or url.rpartition('/')[2] or arn.rpartition(':')[2]
    return name


def faulty_sqs(port: int) -> AbstractContextManager[FaultySqs]:
    """Run a proxy before the SQS server on ``port``."""
    return serving(FaultySqs(port))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Have an HTTP server that has faults answer, until the end of the block."""
    # Looks every 20 ms whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.repair()
        server.shutdown()
        server.server_close()
