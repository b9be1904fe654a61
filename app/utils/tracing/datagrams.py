"""Puts spans into datagrams that a Jaeger agent takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from jaeger_client.thrift import make_jaeger_batch
from jaeger_client.thrift_gen.agent import Agent
from jaeger_client.thrift_gen.jaeger import ttypes
from thrift.protocol.TCompactProtocol import TCompactProtocol  # type: ignore[import-untyped]
from thrift.Thrift import TMessageType  # type: ignore[import-untyped]
from thrift.transport.TTransport import TMemoryBuffer  # type: ignore[import-untyped]

from app.utils.tracing.cleaned import cleaned

__all__ = ['LARGEST', 'datagrams']

logger = logging.getLogger(__name__)

#: Bytes of the largest datagram that an agent reads.
LARGEST = 65_000
#: Characters to which the texts of a span that is larger are cut, one after the other.
CUTS = (4_096, 512, 64)
#: Logs, their fields, tags and references that are kept when that is not enough: at first, and
#: then half as many until it is.
KEPT = 50
#: The tag of a span from which something was cut.
CUT_TAG = 'cut'


def datagrams(spans: list[Any], process: ttypes.Process) -> Iterator[bytes]:
    """Yield the datagrams that carry spans: as few as their size allows.

    Of a span that is too large for one by itself, texts are cut, and then logs and tags.

    Arguments:
        spans: finished ones of jaeger_client.
        process: who reports them.
    """
    made = make_jaeger_batch(spans, process).spans
    for span in made:
        _clean(span)
    yield from _datagrams(made, process)


def _clean(span: ttypes.Span) -> None:
    span.operationName = cleaned(span.operationName)
    for tag in _tags(span):
        tag.key, tag.vStr = cleaned(tag.key), cleaned(tag.vStr)
        number = cleaned(tag.vLong)
        if isinstance(number, str):
            tag.vType, tag.vStr, tag.vLong = ttypes.TagType.STRING, number, None


def _tags(span: ttypes.Span) -> list[ttypes.Tag]:
    """Return a span's tags, and the fields of its logs."""
    return [*span.tags, *(field for log in span.logs for field in log.fields)]


def _datagrams(spans: list[ttypes.Span], process: ttypes.Process) -> Iterator[bytes]:
    data = _encoded(spans, process)
    if data is not None and len(data) <= LARGEST:
        yield data
    elif len(spans) > 1:
        half = len(spans) // 2
        yield from _datagrams(spans[:half], process)
        yield from _datagrams(spans[half:], process)
    elif data is not None:
        yield from _cut(spans[0], process)


def _encoded(spans: list[ttypes.Span], process: ttypes.Process) -> bytes | None:
    buffer = TMemoryBuffer()
    protocol = TCompactProtocol(buffer)
    protocol.writeMessageBegin('emitBatch', TMessageType.ONEWAY, 0)
    try:
        Agent.emitBatch_args(ttypes.Batch(process, spans)).write(protocol)
    except Exception as error:  # noqa: BLE001  (whatever a task put into a tag)
        if len(spans) == 1:
            logger.warning('a span cannot be sent: name=%s %r', spans[0].operationName, error)
        return None
    protocol.writeMessageEnd()
    data: bytes = buffer.getvalue()
    return data


def _cut(span: ttypes.Span, process: ttypes.Process) -> Iterator[bytes]:
    cut = ttypes.Tag(CUT_TAG, ttypes.TagType.BOOL, vBool=True)
    span.tags = [*span.tags, cut]
    for length in CUTS:
        span.operationName = _shortened(span.operationName, length)
        for tag in _tags(span):
            tag.key = _shortened(tag.key, length)
            tag.vStr = _shortened(tag.vStr, length)
        data = _encoded([span], process)
        if data is not None and len(data) <= LARGEST:
            yield data
            return
    kept = KEPT
    while kept:
        span.tags = [*span.tags[:-1][:kept], cut]
        # The last ones: among them is how it ended.
        span.logs = span.logs[-kept:]
        for log in span.logs:
            log.fields = log.fields[:kept]
        span.references = (span.references or [])[:kept]
        data = _encoded([span], process)
        if data is not None and len(data) <= LARGEST:
            yield data
            return
        kept //= 2
    logger.warning('a span cannot be sent: name=%s is too large', span.operationName)


def _shortened(text: str | None, length: int) -> str | None:
    """Return a text without what is too much in its middle."""
    if text is None or len(text) <= length:
        return text
    half = length // 2
    return f'{text[:half]}[...]{text[-half:]}'
