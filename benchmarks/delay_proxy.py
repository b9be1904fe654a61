"""A TCP proxy that adds a round-trip delay and counts SQS requests: a program of its own.

    python -m benchmarks.delay_proxy HOST:PORT RTT_MS

Prints the port it listens on; answers each line on stdin with the counts so far, as JSON; ends
with stdin. Every chunk waits half the round trip on its way, alone: neither bandwidth nor other
connections are held up.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter, deque

from benchmarks.http_count import RequestCounter


class End(asyncio.Protocol):
    """One end of a connection: what it receives goes out at the other end, later.

    Arguments:
        delay: seconds.
    """

    def __init__(self, delay: float) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self._delay = delay
        #: On its way to the other end; None is the end of the stream. The timers of equal times
        #: may fire in any order, this keeps the chunks in theirs.
        self._under_way: deque[bytes | None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._forward(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._forward(None)

    def _forward(self, data: bytes | None) -> None:
        self._under_way.append(data)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._deliver)
        else:
            self._deliver()

    def _deliver(self) -> None:
        data = self._under_way.popleft()
        if self.other is None or self.other.transport is None:
            return  # the client hung up before there was a connection to the server
        if data is None:
            self.other.transport.close()
        else:
            self.other.transport.write(data)


class ClientEnd(End):
    """The end that a client connected to.

    Arguments:
        upstream: host and port of the server.
        counts: where its requests are counted.
    """

    def __init__(self, delay: float, upstream: tuple[str, int], counts: Counter[str]) -> None:
        super().__init__(delay)
        self._upstream = upstream
        self._requests = RequestCounter(counts)
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        # Nothing is read, and so no chunk's time begins, before there is someone to send it to.
        # Soon, for asyncio of Python 3.10 begins to read after this call, paused or not.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        assert self.transport is not None
        # A new connection takes a round trip as well.
        await asyncio.sleep(2 * self._delay)
        far = End(self._delay)
        far.other = self
        try:
            await loop.create_connection(lambda: far, *self._upstream)
        except OSError:
            self.transport.abort()
            return
        self.other = far
        if self.transport.is_closing():
            assert far.transport is not None
            far.transport.close()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._requests.feed(data)
        super().data_received(data)


async def serve(upstream: tuple[str, int], rtt: float) -> None:
    """Run until stdin ends.

    Arguments:
        rtt: seconds.
    """
    counts: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ClientEnd(rtt / 2, upstream, counts), '127.0.0.1', 0)
    _say(server.sockets[0].getsockname()[1])
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        _say(counts)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
    _host, _, _port = sys.argv[1].rpartition(':')
    asyncio.run(serve((_host, int(_port)), float(sys.argv[2]) / 1000))
