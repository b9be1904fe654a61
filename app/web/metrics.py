"""``/metrics``: the values of all processes, added up."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from app.config.configuration import Config
from app.web.build_info import BuildInfoCollector
from app.web.depths import DepthCollector, DepthPoller
from app.web.heartbeat_metrics import HeartbeatCollector
from app.web.process_metrics import ProcessCollector

__all__ = ['collectors', 'metrics']


def collectors(config: Config, depths: DepthPoller | None = None) -> list[Collector]:
    """Return what collects metrics that no process keeps in a file.

    Arguments:
        depths: knows how many messages are in the queues; None where that is of no interest.
    """
    prefix = config.prefix
    return [
        BuildInfoCollector(config),
        HeartbeatCollector(config.heartbeat_path, prefix),
        DepthCollector(prefix, depths),
    ]


def metrics(
    config: Config, processes: ProcessCollector, depths: DepthPoller | None = None
) -> Blueprint:
    """Return the route.

    Arguments:
        config: the app's settings.
        processes: collects what processes keep in files.
        depths: as for `collectors`.
    """
    routes = Blueprint('metrics', __name__)
    registry = CollectorRegistry()
    for collector in (processes, *collectors(config, depths)):
        registry.register(collector)

    @routes.get('/metrics')
    def scrape() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes
