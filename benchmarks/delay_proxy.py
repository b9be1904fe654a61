"""A TCP proxy that adds a round-trip delay and counts SQS requests: a program of its own.

    python -m benchmarks.delay_proxy HOST:PORT RTT_MS

Prints the port it listens on; answers each line on stdin with the counts so far, as JSON; ends
with stdin. Every chunk waits half the round trip on its way, alone: neither bandwidth nor other
connections are held up.
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
    """Passes connections on to one server.

    Arguments:
        upstream: host and port of the server.
        delay: seconds that each chunk is under way.
    """

    def __init__(self, upstream: tuple[str, int], delay: float) -> None:
        self.counts: Counter[str] = Counter()
        self._upstream = upstream
        self._delay = delay

    async def connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Pass one connection on, in both directions, until either end closes it."""
        # A new connection takes a round trip as well.
        await asyncio.sleep(2 * self._delay)
        with suppress(OSError):
            server, to_server = await asyncio.open_connection(*self._upstream)
            await asyncio.gather(
                self._pass(client, to_server, RequestCounter(self.counts)),
                self._pass(server, to_client),
            )
        to_client.close()

    async def _pass(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        counter: RequestCounter | None = None,
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.ensure_future(_deliver(under_way, target))
        clock = asyncio.get_running_loop().time
        data = b'first'
        while data:
            try:
                data = await source.read(65536)
            except OSError:
                data = b''  # it was reset
            if counter:
                counter.feed(data)
            under_way.put_nowait((clock() + self._delay, data))
        await delivery


async def _deliver(
    under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
) -> None:
    """Write each chunk once its time has come; close with the empty one."""
    clock = asyncio.get_running_loop().time
    while True:
        due_at, data = await under_way.get()
        if (left := due_at - clock()) > 0:
            await asyncio.sleep(left)
        if not data:
            target.close()
            return
        target.write(data)


async def serve(upstream: tuple[str, int], rtt: float) -> None:
    """Run until stdin ends.

    Arguments:
        rtt: seconds.
    """
    proxy = Proxy(upstream, rtt / 2)
    server = await asyncio.start_server(proxy.connected, '127.0.0.1', 0)
    _say(server.sockets[0].getsockname()[1])
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        _say(proxy.counts)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
    _host, _, _port = sys.argv[1].rpartition(':')
    asyncio.run(serve((_host, int(_port)), float(sys.argv[2]) / 1000))
