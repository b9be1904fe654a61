"""Counts SQS requests in a stream of bytes, by the name of the operation."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ['RequestCounter']

_END_OF_HEADERS = b'\r\n\r\n'
_LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.IGNORECASE)
_OPERATION = re.compile(rb'\r\nx-amz-target: *[\w]+\.(\w+)', re.IGNORECASE)


class RequestCounter:
    """Follows one direction of one HTTP/1.1 connection.

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
            end = self._headers.find(_END_OF_HEADERS)
            if end < 0:
                return
            headers, data = self._headers[:end], self._headers[end + len(_END_OF_HEADERS) :]
            self._headers = b''
            operation = _OPERATION.search(headers)
            self._counts[operation[1].decode() if operation else 'other'] += 1
            length = _LENGTH.search(headers)
            self._body_left = int(length[1]) if length else 0
