"""Traces: off until JAEGER_AGENT_HOST is set, or TRACING_EXPORTER=otlp with its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.config.configuration import Config
from app.utils.role import Role

if TYPE_CHECKING:
    from app.utils.tracing.outbox import Outbox

__all__ = ['is_on', 'start', 'stop', 'tracer']

#: Seconds that the end of a process waits for its last spans to be sent.
FLUSH_TIME = 2.0

_outbox: Outbox | None = None


def start(config: Config, role: Role) -> None:
    """Start a tracer of this process, and make it OpenTracing's global one.

    The processes that neither run tasks nor see them fail have no spans.
    """
    global _outbox
    _outbox = None
    if not config.is_traced or role not in (Role.CONSUMER, Role.POOL):
        return
    # Only now: who does not trace does not import them.
    import opentracing  # type: ignore[import-untyped]

    if config.tracing_exporter == 'otlp':
        from app.utils.tracing import otlp as exporter
    else:
        from app.utils.tracing import jaeger as exporter  # type: ignore[no-redef]
    made, _outbox = exporter.start(config, tells=_tells(role))
    opentracing.set_global_tracer(made)


def stop() -> None:
    """Send the last spans, within `FLUSH_TIME`."""
    global _outbox
    outbox, _outbox = _outbox, None
    if outbox is not None:
        outbox.stop(FLUSH_TIME)


def is_on() -> bool:
    """Whether this process has a tracer."""
    return _outbox is not None


def tracer() -> Any:
    """Return OpenTracing's tracer; while tracing is off, one whose spans go nowhere.

    Within a task the task's span is active: ``with tracer().start_active_span('resize'):`` makes a
    child of it.
    """
    import opentracing

    return opentracing.global_tracer()


def _tells(role: Role) -> bool:
    """Whether this process logs that spans do not get there: one of the pool's is enough."""
    from billiard import current_process

    return role is not Role.POOL or getattr(current_process(), 'index', 0) == 0
