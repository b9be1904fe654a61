"""The way to a Jaeger agent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from jaeger_client.reporter import NullReporter
from jaeger_client.sampler import ConstSampler
from jaeger_client.span import Span
from jaeger_client.thrift import make_process
from jaeger_client.tracer import Tracer

from app.utils.tracing.jaeger import NAME_LASTS, Agent
from tests.support import spans
from tests.support.waiting import wait_until


def span() -> Span:
    tracer = Tracer('tests', NullReporter(), ConstSampler(True), tags={'ip': '127.0.0.1'})
    made = tracer.start_span('span')
    made.finish()
    return made


@contextmanager
def agent_at(host: str, port: int) -> Iterator[Agent]:
    agent = Agent(host, port)
    agent.process = make_process('tests', {}, 100)
    try:
        yield agent
    finally:
        agent.close()


def test_spans_reach_an_agent_by_its_name() -> None:
    with spans.agent() as received, agent_at('localhost', received.port) as agent:
        agent.send([span(), span()])
        wait_until(lambda: len(received.received) == 2, 'both have come')


def test_where_nobody_listens_nothing_fails() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(('127.0.0.1', 0))
        port = taken.getsockname()[1]
    with agent_at('127.0.0.1', port) as agent:
        for _ in range(3):
            agent.send([span()])


def test_a_name_that_does_not_resolve_is_an_error_at_each_send() -> None:
    with agent_at('jaeger.invalid', 6831) as agent:
        for _ in range(2):
            with pytest.raises(OSError, match=r'known|resolution'):
                agent.send([span()])


def test_a_name_that_resolves_no_more_is_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with spans.agent() as received, agent_at('localhost', received.port) as agent:
        agent.send([span()])
        monkeypatch.setattr(agent, '_host', 'jaeger.invalid')
        monkeypatch.setattr(agent, '_looked_up_at', float('-inf'))
        agent.send([span()])
        wait_until(lambda: len(received.received) == 2, 'both have come')


def test_a_name_that_resolves_no_more_is_not_looked_up_for_each_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(True)
        raise socket.gaierror(-3, 'Temporary failure in name resolution')

    with spans.agent() as received, agent_at('localhost', received.port) as agent:
        agent.send([span()])
        monkeypatch.setattr(agent, '_looked_up_at', agent._looked_up_at - NAME_LASTS)
        monkeypatch.setattr(socket, 'getaddrinfo', refuse)
        for _ in range(3):
            agent.send([span()])
        monkeypatch.undo()
        wait_until(lambda: len(received.received) == 4, 'all have come')
    assert len(asked) == 1
