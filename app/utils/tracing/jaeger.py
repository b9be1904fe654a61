"""A tracer of jaeger-client, which sends its spans to a Jaeger agent over UDP."""

from __future__ import annotations

import logging
import os
import random
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

from app.config.configuration import Config
from app.utils.tracing.masking import masked

__all__ = ['start']

logger = logging.getLogger(__name__)

#: Characters kept of a text, and spans of a datagram. An agent reads no datagram of more than
#: 65,000 bytes; five failed tasks with long stacks make 33,000.
TEXT_LENGTH = 4_000
BATCH_SIZE = 5
#: Spans that wait at most; of more, the newest are dropped.
QUEUE_SIZE = 1_000
#: Seconds for which a batch is collected: a process that is killed loses that much.
FLUSH_SECONDS = 0.1


def start(config: Config, logs_outages: bool) -> Callable[[float], None]:
    """Make this process's tracer the global one; return what sends its last spans and ends it.

    Arguments:
        logs_outages: whether to log that spans cannot be sent.
    """
    is_const = config.jaeger_sampler_type == 'const'
    param = config.jaeger_sampler_param
    settings = JaegerConfig(
        {
            'sampler': {
                'type': config.jaeger_sampler_type,
                'param': bool(param) if is_const else param,
            },
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
        },
        service_name=config.service_name,
        validate=True,
    )
    sender = LocalAgentSender(
        str(config.jaeger_agent_host), sampling_port=0, reporting_port=config.jaeger_agent_port
    )
    reporter = MaskingReporter(
        sender,
        queue_capacity=QUEUE_SIZE,
        batch_size=BATCH_SIZE,
        flush_interval=FLUSH_SECONDS,
        error_reporter=FirstError(logs_outages),
    )
    assert settings.sampler is not None
    tracer = settings.create_tracer(reporter, settings.sampler)
    # Its own is seeded with the time and the pid, which two containers may share.
    tracer.random = random.Random()
    opentracing.set_global_tracer(tracer)

    def stop(timeout: float) -> None:
        closed = threading.Event()

        def close() -> None:
            reporter.close().add_done_callback(lambda _: closed.set())

        # `close` needs an event loop in its thread: the reporter's has one.
        reporter.io_loop.add_callback(close)
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


class FirstError(ErrorReporter):
    """Logs the first batch that cannot be sent: the agent's name does not resolve, most likely.

    jaeger-client's own reporter of errors is silent for the first 15 minutes of a process.
    """

    def __init__(self, is_logged: bool) -> None:
        super().__init__(Metrics())
        self._is_logged = is_logged

    def error(self, *args: Any) -> None:
        if self._is_logged:
            self._is_logged = False
            logger.warning(
                'spans cannot be sent to the Jaeger agent: %r: check JAEGER_AGENT_HOST and '
                'JAEGER_AGENT_PORT',
                args[-1],
            )
