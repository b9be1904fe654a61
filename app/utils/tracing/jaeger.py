"""A tracer that sends its spans to a Jaeger agent, by jaeger-client.

Its own reporter is not used: that runs a loop of tornado's, sends packets of any size, and gives
its name up for good when it does not resolve at first.
"""

from __future__ import annotations

import os
import random
import socket
import time
from typing import Any

from jaeger_client.metrics.metrics import MetricsFactory
from jaeger_client.reporter import BaseReporter
from jaeger_client.sampler import (
    ConstSampler,
    ProbabilisticSampler,
    RateLimitingSampler,
    Sampler,
)
from jaeger_client.span import Span
from jaeger_client.thrift import make_process
from jaeger_client.thrift_gen.jaeger import ttypes
from jaeger_client.tracer import Tracer
from jaeger_client.utils import get_local_ip_by_socket

from app.config.configuration import Config
from app.utils.tracing.datagrams import LARGEST, datagrams
from app.utils.tracing.outbox import Outbox
from be_queue.outage import Outage

__all__ = ['start']

#: Characters kept of a tag's text.
TEXT_LENGTH = 16_384
#: Seconds after which the agent's name is looked up again.
NAME_LASTS = 60.0
CHECK = 'JAEGER_AGENT_HOST and JAEGER_AGENT_PORT'


def start(config: Config, tells: bool) -> tuple[Tracer, Outbox]:
    """Return a tracer of this process, and what sends its spans.

    Arguments:
        tells: whether the log says when the agent's name does not resolve.
    """
    agent = Agent(str(config.jaeger_agent_host), config.jaeger_agent_port)
    outage = Outage('the Jaeger agent', hint=CHECK) if tells else None
    outbox = Outbox(agent.send, agent.close, outage)
    tracer = Tracer(
        config.service_name,
        Reporter(agent, outbox),
        _sampler(config),
        metrics_factory=MetricsFactory(),
        # As W3C's, so that both forms of the context say the same.
        generate_128bit_trace_id=True,
        max_tag_value_length=TEXT_LENGTH,
        max_traceback_length=TEXT_LENGTH,
        tags={
            'service.version': config.release,
            'deployment.environment': config.env,
            'process.pid': os.getpid(),
            # Else it asks the name server for our own address, and waits for the answer.
            'ip': get_local_ip_by_socket() or '127.0.0.1',
        },
    )
    # Its own is seeded with the time and the pid, which two containers may share.
    tracer.random = random.Random()
    return tracer, outbox


class Reporter(BaseReporter):
    """Takes the spans that are finished."""

    def __init__(self, agent: Agent, outbox: Outbox) -> None:
        self._agent = agent
        self._outbox = outbox

    def set_process(self, service_name: str, tags: Any, max_length: int) -> None:
        self._agent.process = make_process(service_name, tags, max_length)

    def report_span(self, span: Span) -> None:
        self._outbox.put(span)


class Agent:
    """The agent, over UDP.

    Arguments:
        host: its name or address; looked up in the thread that sends.
        port: its port.
    """

    #: Who reports.
    process: ttypes.Process

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._address: Any = None
        self._looked_up_at = float('-inf')

    def send(self, spans: list[Span]) -> None:
        """Send spans; raises OSError while the agent's name does not resolve."""
        self._look_up()
        assert self._socket is not None
        for data in datagrams(spans, self.process):
            self._socket.sendto(data, self._address)

    def close(self) -> None:
        """Send nothing more."""
        if self._socket is not None:
            self._socket.close()

    def _look_up(self) -> None:
        now = time.monotonic()
        if self._socket is not None and now - self._looked_up_at < NAME_LASTS:
            return
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        except OSError:
            if self._socket is None:
                raise
            # Where it was before. A name server that does not answer is not waited for each time.
            self._looked_up_at = time.monotonic()
            return
        family, kind, protocol, _, address = found[0]
        if self._socket is None or self._socket.family != family:
            self.close()
            self._socket = socket.socket(family, kind, protocol)
            # macOS sends no datagram that is larger than this.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LARGEST)
        self._address, self._looked_up_at = address, now


def _sampler(config: Config) -> Sampler:
    # None that asks the agent what to sample: it would block, and have threads of its own.
    param = config.jaeger_sampler_param
    if config.jaeger_sampler_type == 'const':
        return ConstSampler(bool(param))
    if config.jaeger_sampler_type == 'probabilistic':
        return ProbabilisticSampler(param)
    return RateLimitingSampler(param)
