"""Event logs against a real receiver, through its outages."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.config.configuration import Config
from be_queue.testing.waiting import wait_until
from be_queue.worker.fluent.sender import Sender
from tests.support.fluent_server import FluentServer, receives, rubbish, running_fluent

UNAVAILABLE, BACK = 'is unavailable, trying until it is back', 'is back: failures='
FULL, ROOM = 'do not fit in their buffer', 'event logs are sent again'
#: Bytes of a buffer that is soon full: it has room for 64 events.
SMALL = 64 * 1024


class Events:
    """A sender, what it counts, and a number for each event."""

    def __init__(self, server: FluentServer, buffer: int) -> None:
        config = Config(
            fluent_host='127.0.0.1',
            fluent_port=server.port,
            td_database='tests_db',
            fluent_buffer=buffer,
        )
        self.counts: Counter[str] = Counter()
        self.logged = 0
        self.sender = Sender(config, lambda outcome, events: self.counts.update({outcome: events}))

    def log(self, count: int, size: int = 0) -> None:
        """Log events of ``size`` bytes and a little more."""
        for _ in range(count):
            # Numbers of one length, so that all events are of one size.
            self.sender.emit('events', {'n': 1000 + self.logged, 'padding': 'x' * size})
            self.logged += 1


@pytest.fixture
def server() -> Iterator[FluentServer]:
    with running_fluent() as server:
        yield server


@pytest.fixture
def buffer() -> int:
    """Bytes of the sender's buffer: parametrize a test for another."""
    return 1_000_000


@pytest.fixture
def events(server: FluentServer, buffer: int) -> Iterator[Events]:
    events = Events(server, buffer)
    yield events
    events.sender.close(timeout=0)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """Return a function that returns the lines of the log that have a text."""
    return lambda text: [line for line in caplog.messages if text in line]


def numbers(server: FluentServer) -> list[int]:
    return [record['n'] - 1000 for record in server.records()]


def test_an_event_arrives_as_it_was_logged(server: FluentServer, events: Events) -> None:
    server.behaviour = rubbish  # which nobody listens to
    fields = {
        'text': 'grüße', 'none': None, 'yes': True, 'int': 2**63, 'float': 0.5, 'bytes': b'\xff',
        'list': [1, ['a']], 'dict': {'time': 1},
    }  # fmt: skip
    before = time.time_ns()
    assert events.sender.emit('page_views', fields) is True
    after = time.time_ns()
    server.wait_received(1)
    (event,) = server.events
    assert event.tag == 'td.tests_db.page_views'
    assert event.record == fields
    assert before <= event.time <= after


def test_nothing_is_lost_in_an_outage(server: FluentServer, events: Events, lines) -> None:
    events.log(10)
    server.wait_received(10)
    for outage in (1, 2):
        server.stop()
        events.log(50)
        wait_until(lambda outage=outage: len(lines(UNAVAILABLE)) == outage, 'it is noticed')
        events.log(50)
        server.start()
        # Without another event that would make it try.
        server.wait_received(10 + 100 * outage)
        wait_until(lambda outage=outage: len(lines(BACK)) == outage, 'the log says so')
    assert numbers(server) == list(range(210))
    wait_until(lambda: events.counts == {'sent': 210}, 'they are counted')
    assert lines(FULL) == []


@pytest.mark.parametrize('buffer', [SMALL])
def test_beyond_the_buffer_the_oldest_are_dropped_and_counted(
    server: FluentServer, events: Events, lines
) -> None:
    server.stop()
    events.log(500)
    assert events.counts['dropped'] > 400
    wait_until(lambda: lines(UNAVAILABLE), 'it is noticed')
    events.log(500)
    server.start()
    wait_until(lambda: events.counts.total() == 1000, 'every event is sent or dropped')
    wait_until(lambda: len(server.events) == events.counts['sent'], 'what is sent is there')
    kept = numbers(server)
    # The one that was being sent, and the newest.
    assert kept[1:] == list(range(1001 - len(kept), 1000))
    assert len(kept) > 50
    assert len(lines(FULL)) == 1
    (line,) = wait_until(lambda: lines(ROOM), 'the log says so')
    assert line.endswith(f'dropped={1000 - len(kept)}')


def test_a_connection_that_is_closed_when_idle_is_no_outage(
    server: FluentServer, events: Events, lines
) -> None:
    for n in range(3):
        events.log(1)
        server.wait_received(n + 1)
        server.hang_up()
    events.log(1)
    server.wait_received(4)
    assert numbers(server) == [0, 1, 2, 3]
    assert server.connections == 4
    assert lines(UNAVAILABLE) == []


@pytest.mark.parametrize('buffer', [SMALL * 100])
def test_a_server_that_does_not_read_blocks_nobody(
    server: FluentServer, events: Events, lines
) -> None:
    told = threading.Event()

    def reads_late(server: FluentServer, connection: socket.socket) -> None:
        told.wait()
        receives(server, connection)

    server.behaviour = reads_late
    # More than the kernel takes for the connection; the calls would wait for ever.
    wait_until(lambda: events.log(100, SMALL) or events.counts['dropped'] > 1000, 'it is full')
    assert events.sender.close(timeout=0.1) > 0
    counts = dict(events.counts)
    assert events.counts.total() == events.logged
    received = len(server.events)
    told.set()
    wait_until(lambda: len(server.events) > received, 'the server reads')
    # An event that was being sent may arrive all the same: it is not counted again.
    assert events.counts == counts
    assert lines(FULL)
    assert len(lines('could not be sent')) == 1


@pytest.mark.parametrize('buffer', [50_000_000])
def test_events_that_wait_are_sent_at_the_end_from_all_threads(
    server: FluentServer, events: Events
) -> None:
    def log(name: int) -> None:
        for n in range(200):
            events.sender.emit('events', {'name': name, 'n': n})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log, range(8)))
    assert events.sender.close(timeout=60) == 0
    assert events.counts == {'sent': 1600}
    server.wait_received(1600)
    for name in range(8):
        of_one = [record['n'] for record in server.records() if record['name'] == name]
        assert of_one == list(range(200))


def test_the_end_does_not_wait_for_a_server_that_is_unavailable(
    server: FluentServer, events: Events, lines
) -> None:
    server.stop()
    events.log(7)
    assert events.sender.close(timeout=0.1) == 7
    assert events.sender.close() == 0
    assert events.sender.emit('events', {}) is False
    assert events.counts == {'dropped': 7}
    (line,) = lines('could not be sent')
    assert 'events=7' in line
    assert 'FLUENT_HOST' in line
