"""A tracer of jaeger-client, which sends its spans to a Jaeger agent over UDP."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import opentracing  # type: ignore[import-untyped]
from jaeger_client.config import Config as JaegerConfig
from jaeger_client.local_agent_net import LocalAgentSender
from jaeger_client.metrics.metrics import Metrics
from jaeger_client.reporter import Reporter
from jaeger_client.span import Span
from jaeger_client.utils import ErrorReporter, get_local_ip_by_socket

from be_queue.outage import Outage
from be_queue.worker.settings import Settings
from be_queue.worker.tracing import masked

__all__ = ['start']

#: Characters kept of a text, and spans of a datagram. An agent reads no datagram of more than
#: 65,000 bytes; five failed tasks with long stacks make 33,000.
TEXT_LENGTH = 4_000
BATCH_SIZE = 5
#: The most spans that wait; beyond it, the newest are dropped.
QUEUE_SIZE = 1_000
#: A batch is collected for so long, and a process that is killed loses it.
FLUSH_SECONDS = 0.1


def start(config: Settings, logs_outages: bool) -> Callable[[float], None]:
    """Make this process's tracer the global one; return what sends its last spans and ends it.

    Arguments:
        logs_outages: whether to log that spans cannot be sent.
    """
    kind, param = config.jaeger_sampler_type, config.jaeger_sampler_param
    settings = {
        'sampler': {'type': kind, 'param': bool(param) if kind == 'const' else param},
        'tags': {
            'service.version': config.release,
            'deployment.environment': config.env,
            'process.pid': os.getpid(),
            # By default it resolves the host's name, which may take longer than Celery gives a
            # pool process to start.
            'ip': get_local_ip_by_socket() or '127.0.0.1',
        },
        # As W3C's, so that both forms of the context say the same.
        'generate_128bit_trace_id': True,
        # `MaskingReporter` truncates, after masking.
        'max_tag_value_length': 1_000_000,
        'max_traceback_length': 1_000_000,
    }
    jaeger = JaegerConfig(settings, service_name=config.service_name)
    sender = LocalAgentSender(
        str(config.jaeger_agent_host), sampling_port=0, reporting_port=config.jaeger_agent_port
    )
    reporter = MaskingReporter(
        sender,
        queue_capacity=QUEUE_SIZE,
        batch_size=BATCH_SIZE,
        flush_interval=FLUSH_SECONDS,
        error_reporter=OutageReporter() if logs_outages else None,
    )
    assert jaeger.sampler is not None
    opentracing.set_global_tracer(jaeger.create_tracer(reporter, jaeger.sampler))

    def stop(timeout: float) -> None:
        closed = threading.Event()
        # In the reporter's thread, as `close` needs an event loop in its own.
        reporter.io_loop.add_callback(
            lambda: reporter.close().add_done_callback(lambda _: closed.set())
        )
        closed.wait(timeout)
        sender.close()

    return stop


class MaskingReporter(Reporter):
    """Masks secrets on each finished span."""

    def report_span(self, span: Span) -> None:
        span.operation_name = masked(span.operation_name, TEXT_LENGTH)
        for tag in (*span.tags, *(field for log in span.logs for field in log.fields)):
            tag.key, tag.vStr = masked(tag.key, TEXT_LENGTH), masked(tag.vStr, TEXT_LENGTH)
        super().report_span(span)


class OutageReporter(ErrorReporter):
    """Logs the first error at once; jaeger-client's own is silent for its first 15 minutes."""

    def __init__(self) -> None:
        super().__init__(Metrics())
        self._outage = Outage('the Jaeger agent', hint='JAEGER_AGENT_HOST and JAEGER_AGENT_PORT')

    def error(self, *args: Any) -> None:
        self._outage.failed(args[-1])
