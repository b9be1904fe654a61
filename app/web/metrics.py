"""``/metrics``: the values of all processes, added up."""

from __future__ import annotations

from flask import Blueprint, Response

from app.config.configuration import Config
from app.utils import metrics as _directory_first  # noqa: F401  (see its docstring)

# isort: split
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.web.pollers import PollerCollector

__all__ = ['metrics']


def metrics(config: Config) -> Blueprint:
    """Return the route."""
    routes = Blueprint('metrics', __name__)
    pollers = PollerCollector(config.heartbeat_path, config.prefix)

    @routes.get('/metrics')
    def scrape() -> Response:
        """Return the metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        registry.register(pollers)
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes
