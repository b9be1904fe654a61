"""``/metrics``: the values of all processes, added up."""

from __future__ import annotations

from flask import Blueprint, Response

from app.utils import metrics as _directory_first  # noqa: F401  (see its docstring)

# isort: split
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ['metrics']

metrics = Blueprint('metrics', __name__)


@metrics.get('/metrics')
def scrape() -> Response:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
