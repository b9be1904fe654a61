"""Servers that take spans as a Jaeger agent and as an OTLP collector do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import opentracing
from jaeger_client.thrift_gen.agent import Agent
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

from be_queue.testing.waiting import wait_until

__all__ = ['Span', 'Spans', 'agent', 'collector', 'global_tracer']

#: Bytes of the largest datagram that a Jaeger agent reads.
LARGEST = 65_000


@dataclass
class Span:
    """What both forms say of a span; times in seconds since 1970."""

    name: str
    trace: int
    id: int
    parent: int
    begin: float
    end: float
    tags: dict[str, Any]
    process: dict[str, Any]
    logs: list[dict[str, Any]] = field(default_factory=list)
    #: Type and span id of each: ``('FOLLOWS_FROM', 5)``, of OTLP ``('link', 5)``.
    references: list[tuple[str, int]] = field(default_factory=list)
    #: Of OTLP alone: names of its enumerations.
    kind: str = ''
    status: str = ''


class Spans:
    """The spans that have come, and where to send them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Span] = []
        #: The bytes of each message.
        self.messages: list[bytes] = []
        #: Of an OTLP collector: what it answers, and after how many seconds.
        self.status = 200
        self.delay = 0.0
        self.requests = 0

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}'

    def of(self, task_id: str) -> list[Span]:
        """Return the spans of a task, in the order of their beginnings."""
        found = [s for s in self.received if s.tags.get('celery.task_id') == task_id]
        return sorted(found, key=lambda span: span.begin)

    def wait(self, name: str, condition: Callable[[Span], bool] = lambda _: True) -> Span:
        """Wait for the one span of a name that meets a condition, and return it."""

        (span,) = wait_until(
            lambda: [s for s in self.received if s.name == name and condition(s)],
            f'a span {name!r}',
        )
        return span

    def wait_task(self, name: str, task_id: str, attempt: int = 1) -> Span:
        """Wait for a span of a task."""
        return self.wait(
            name,
            lambda s: s.tags['celery.task_id'] == task_id and s.tags['celery.attempt'] == attempt,
        )


@contextmanager
def global_tracer(tracer: Any) -> Iterator[None]:
    """Have OpenTracing use a tracer until the end of the block."""
    before = opentracing.tracer, opentracing.is_tracer_registered
    opentracing.set_global_tracer(tracer)
    try:
        yield
    finally:
        opentracing.tracer, opentracing.is_tracer_registered = before


@contextmanager
def agent() -> Iterator[Spans]:
    """Run a Jaeger agent on a port of loopback until the end of the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        server.bind(('127.0.0.1', 0))
        server.settimeout(0.1)
        spans = Spans(server.getsockname()[1])
        stopping = threading.Event()

        def receive() -> None:
            while not stopping.is_set():
                try:
                    data = server.recv(LARGEST + 1)
                except TimeoutError:
                    continue
                spans.messages.append(data)
                spans.received += from_datagram(data)

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield spans
        finally:
            stopping.set()
            thread.join()


@contextmanager
def collector() -> Iterator[Spans]:
    """Run an OTLP collector on a port of loopback until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers['Content-Length']))
            assert self.path == '/v1/traces'
            spans.requests += 1
            stopping.wait(spans.delay)
            if spans.status == 200:
                spans.messages.append(body)
                spans.received += from_otlp(body)
            with suppress(OSError):  # the sender did not wait
                self.send_response(spans.status)
                self.send_header('Content-Length', '0')
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    stopping = threading.Event()
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    spans = Spans(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05})
    thread.start()
    try:
        yield spans
    finally:
        stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def from_datagram(data: bytes) -> list[Span]:
    """Decode a datagram as jaeger-client's own Thrift code does."""
    protocol = TCompactProtocol(TMemoryBuffer(data))
    assert protocol.readMessageBegin()[0] == 'emitBatch'
    arguments = Agent.emitBatch_args()
    arguments.read(protocol)
    process = arguments.batch.process
    about = _jaeger_tags(process.tags) | {'service.name': process.serviceName}
    types = ('CHILD_OF', 'FOLLOWS_FROM')
    return [
        Span(
            span.operationName,
            (span.traceIdHigh % 2**64 << 64) + span.traceIdLow % 2**64,
            span.spanId % 2**64,
            span.parentSpanId % 2**64,
            span.startTime / 1e6,
            (span.startTime + span.duration) / 1e6,
            _jaeger_tags(span.tags),
            about,
            [_jaeger_tags(log.fields) for log in span.logs],
            [(types[r.refType], r.spanId % 2**64) for r in span.references or []],
        )
        for span in arguments.batch.spans
    ]


def _jaeger_tags(tags: list[Any]) -> dict[str, Any]:
    fields = ('vStr', 'vDouble', 'vBool', 'vLong')
    return {tag.key: getattr(tag, fields[tag.vType]) for tag in tags}


def from_otlp(body: bytes) -> list[Span]:
    """Decode a request as OpenTelemetry's protocol has it."""
    return [
        Span(
            span.name,
            int.from_bytes(span.trace_id, 'big'),
            int.from_bytes(span.span_id, 'big'),
            int.from_bytes(span.parent_span_id, 'big'),
            span.start_time_unix_nano / 1e9,
            span.end_time_unix_nano / 1e9,
            _otlp_tags(span.attributes),
            _otlp_tags(resource.resource.attributes),
            [{'event': event.name, **_otlp_tags(event.attributes)} for event in span.events],
            [('link', int.from_bytes(link.span_id, 'big')) for link in span.links],
            span.SpanKind.Name(span.kind).removeprefix('SPAN_KIND_'),
            span.status.StatusCode.Name(span.status.code).removeprefix('STATUS_CODE_'),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _otlp_tags(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof('value')) for a in attributes}
