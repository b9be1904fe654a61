"""Programs that run as if an extra of be-queue were not installed."""

from __future__ import annotations

from pathlib import Path

__all__ = ['OPTIONAL', 'without']

#: Modules of the optional extras that the extra ``worker`` does not install.
OPTIONAL = (
    *('sentry_sdk', 'hvac', 'fluent', 'jaeger_client', 'opentelemetry'),
    *('requests', 'thrift', 'threadloop', 'tornado'),
)


def without(*modules: str) -> dict[str, str]:
    """Return the variables by which a program and its children cannot import these modules."""
    folder = Path(__file__).parent / 'without_modules'
    return {'PYTHONPATH': str(folder), 'WITHOUT_MODULES': ' '.join(modules)}
