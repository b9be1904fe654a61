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

#: The header with the operation. A body, which is JSON, holds no line ends of this kind.
_OPERATION = re.compile(rb'\r\nx-amz-target: *\w+\.(\w+)\r\n', re.IGNORECASE)
#: Bytes that such a header has at most.
_LONGEST = 100


class RequestCounter:
    """Counts SQS requests of one connection by the name of the operation.

    Arguments:
        counts: where to count; many connections may share it.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._tail = b''

    def feed(self, data: bytes) -> None:
        """Count the requests whose header ends in ``data``."""
        data = self._tail + data
        end = 0
        for header in _OPERATION.finditer(data):
            self._counts[header[1].decode()] += 1
            end = header.end() - 2  # the next header begins with its line end
        self._tail = data[max(end, len(data) - _LONGEST) :]


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
