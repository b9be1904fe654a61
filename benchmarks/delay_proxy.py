"""A TCP proxy that adds a round-trip delay and counts SQS requests: a program of its own.

    python -m benchmarks.delay_proxy HOST:PORT RTT_MS

Prints the port it listens on; answers each line on stdin with the counts so far, as JSON; ends
with stdin. Each chunk is delayed by half the round trip, without limiting bandwidth or holding up
other connections.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from contextlib import suppress

__all__ = ['RequestCounter']

_END_OF_HEADERS = b'\r\n\r\n'
_LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.IGNORECASE)
_OPERATION = re.compile(rb'\r\nx-amz-target: *\w+\.(\w+)', re.IGNORECASE)


class RequestCounter:
    """Counts SQS requests of one HTTP/1.1 connection by the name of the operation.

    Arguments:
        counts: where to count; many connections may share it.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._headers = b''
        self._body_left = 0

    def feed(self, data: bytes) -> None:
        """Count the requests whose headers end in ``data``."""
        while data:
            if self._body_left:
                skipped = min(self._body_left, len(data))
                self._body_left -= skipped
                data = data[skipped:]
                continue
            self._headers += data
            headers, end, data = self._headers.partition(_END_OF_HEADERS)
            if not end:
                return
            self._headers = b''
            operation = _OPERATION.search(headers)
            self._counts[operation[1].decode() if operation else 'other'] += 1
            length = _LENGTH.search(headers)
            self._body_left = int(length[1]) if length else 0


class Proxy:
    """Forwards connections to one server.

    Arguments:
        upstream: host and port of the server.
        delay: seconds by which each chunk is delayed.
    """

    def __init__(self, upstream: tuple[str, int], delay: float) -> None:
        self.counts: Counter[str] = Counter()
        self._upstream = upstream
        self._delay = delay

    async def connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Forward one connection, in both directions, until either end closes it."""
        # A new connection takes a round trip as well.
        await asyncio.sleep(2 * self._delay)
        with suppress(OSError):
            server, to_server = await asyncio.open_connection(*self._upstream)
            await asyncio.gather(
                self._forward(client, to_server, RequestCounter(self.counts)),
                self._forward(server, to_client),
            )
        to_client.close()

    async def _forward(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        counter: RequestCounter | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b'first'
        while data:
            try:
                data = await source.read(65536)
            except OSError:
                data = b''  # it was reset
            if counter:
                counter.feed(data)
            loop.call_later(self._delay, *((target.write, data) if data else (target.close,)))
        await target.wait_closed()


async def serve(upstream: tuple[str, int], rtt: float) -> None:
    """Run until stdin ends.

    Arguments:
        rtt: seconds.
    """
    proxy = Proxy(upstream, rtt / 2)
    server = await asyncio.start_server(proxy.connected, '127.0.0.1', 0)
    _print(server.sockets[0].getsockname()[1])
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        _print(proxy.counts)


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201


if __name__ == '__main__':
    _host, _, _port = sys.argv[1].rpartition(':')
    asyncio.run(serve((_host, int(_port)), float(sys.argv[2]) / 1000))
