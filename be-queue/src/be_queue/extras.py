"""The extras of be-queue: what is not installed, and what to install."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

__all__ = ['MODULES', 'fault', 'missing']

#: The modules of each extra that be-queue imports.
MODULES = {
    'results': ('sqlalchemy', 'psycopg'),
    'worker': (
        *('sqlalchemy', 'psycopg', 'pydantic_settings', 'dotenv', 'flask', 'gunicorn'),
        *('prometheus_client', 'pythonjsonlogger', 'limits', 'msgpack', 'opentracing'),
        'alembic',
    ),
    'sentry': ('sentry_sdk',),
    'vault': ('hvac',),
    'fluent': ('fluent',),
    'jaeger': ('jaeger_client',),
    'otlp': ('opentelemetry.exporter.otlp.proto.http', 'opentelemetry.shim.opentracing_shim'),
}


def missing(extra: str) -> str | None:
    """Return the first module of the extra that is not installed; None when all are there."""
    for module in MODULES[extra]:
        with suppress(ModuleNotFoundError):  # for a parent of the module
            if find_spec(module) is not None:
                continue
        return module
    return None


def fault(extra: str, cause: str) -> str | None:
    """Return the error for an extra that is not installed; None when it is installed.

    Arguments:
        cause: why it is needed, such as ``SENTRY_DSN is set``.
    """
    module = missing(extra)
    return f'{cause}, but {module} is not installed: install be-queue[{extra}]' if module else None
