"""Traces: off until TRACING_EXPORTER=otlp with its endpoint, or JAEGER_AGENT_HOST, is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from billiard import current_process

from be_queue.text import shortened
from be_queue.worker.redaction import redacted
from be_queue.worker.role import Role
from be_queue.worker.settings import Settings

__all__ = ['ensure_started', 'is_on', 'masked', 'start', 'stop', 'tracer']

#: Seconds for which the end of a process waits until its last spans are sent.
STOP_SECONDS = 2.0

# Starts an exporter and returns what stops it; None while tracing is off.
_start: Callable[[], Callable[[float], None]] | None = None
_stop: Callable[[float], None] | None = None


def start(config: Settings, role: Role) -> None:
    """Start the tracer of a pool process, and make it OpenTracing's global one.

    The worker's main process starts it with its first span, see `ensure_started`: it rarely has
    one, and is better forked without threads. No other process has spans.
    """
    global _start, _stop
    _start = _stop = None
    if not config.is_traced or role not in (Role.CONSUMER, Role.POOL):
        return
    # Only now, so that nothing of it is imported while tracing is off.
    if config.tracing_exporter == 'otlp':
        from be_queue.worker.tracing import otlp as exporter
    else:
        from be_queue.worker.tracing import jaeger as exporter  # type: ignore[no-redef]
    # One of the pool's processes is enough.
    logs_outages = role is Role.CONSUMER or getattr(current_process(), 'index', 0) == 0
    _start = partial(exporter.start, config, logs_outages)
    if role is Role.POOL:
        ensure_started()


def ensure_started() -> None:
    """Start this process's tracer if tracing is on and it has not been started."""
    global _stop
    if _start is not None and _stop is None:
        _stop = _start()


def stop() -> None:
    """Send the last spans, within `STOP_SECONDS`."""
    global _start, _stop
    stop_exporter, _start, _stop = _stop, None, None
    if stop_exporter is not None:
        stop_exporter(STOP_SECONDS)


def is_on() -> bool:
    """Whether this process makes spans."""
    return _start is not None


def tracer() -> Any:
    """Return OpenTracing's tracer; while tracing is off, one whose spans go nowhere.

    Within a task the task's span is active: ``with tracer().start_active_span('resize'):`` makes a
    child of it.
    """
    import opentracing  # type: ignore[import-untyped]

    return opentracing.global_tracer()


def masked(value: Any, length: int) -> Any:
    """Return the values of tags or logs, or their names, without secrets.

    Arguments:
        length: characters that are kept of a text. Exporters must not cut it before: half a secret
            is not recognised.
    """
    if isinstance(value, str):
        # Lone surrogates, as in file names that are not UTF-8, would fail a whole batch.
        text = redacted(value).encode('utf-8', 'backslashreplace').decode()
        return shortened(text, length)
    if isinstance(value, (list, tuple)):
        return [masked(inner, length) for inner in value]
    if isinstance(value, Mapping):
        return {masked(key, length): masked(inner, length) for key, inner in value.items()}
    return value
