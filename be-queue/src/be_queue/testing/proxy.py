"""A TCP proxy that can take the server behind it away and bring it back."""

from __future__ import annotations

import contextlib
import socket
import threading

from be_queue.testing.ports import close_listener

CHUNK = 65536


class Proxy:
    """Forwards connections to 127.0.0.1:``port`` to ``upstream``.

    Arguments:
        upstream: a TCP address ``(host, port)`` or the path of a unix socket.
    """

    def __init__(self, upstream: tuple[str, int] | str) -> None:
        self._upstream = upstream
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore()

    def cut(self) -> None:
        """Refuse new connections and reset the open ones: the server is unavailable."""
        listener, self._listener = self._listener, None
        if listener is not None:
            close_listener(listener)
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def restore(self) -> None:
        """Listen again, on the same port as before; without effect while it does."""
        if self._listener is not None:
            return
        listener = socket.create_server(('127.0.0.1', self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = self._connect()
            except OSError:
                near.close()
                continue
            for end in (near, far):
                if end.family != socket.AF_UNIX:
                    # Without it an answer of two parts takes 40 ms longer.
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._upstream, str):
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._upstream)
            return far
        return socket.create_connection(self._upstream)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open.discard(source)
        source.close()
