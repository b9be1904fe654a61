"""``/metrics``: one registry for the values of all processes, and for what the web server knows."""

from __future__ import annotations

import platform

import celery
from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Info, generate_latest

from app.config.configuration import Config
from app.web.depths import DepthPoller
from app.web.heartbeat_metrics import HeartbeatCollector
from app.web.process_metrics import ProcessCollector

__all__ = ['metrics', 'registry_of']


def metrics(config: Config, processes: ProcessCollector, depths: DepthPoller | None) -> Blueprint:
    """Return the route; arguments are those of `registry_of`."""
    routes = Blueprint('metrics', __name__)
    registry = registry_of(config, processes, depths)

    @routes.get('/metrics')
    def scrape() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


def registry_of(
    config: Config, processes: ProcessCollector, depths: DepthPoller | None
) -> CollectorRegistry:
    """Return what collects every metric.

    Arguments:
        config: the app's settings.
        processes: collects the metrics of all processes.
        depths: those of the queues; None when nobody polls them.
    """
    registry = CollectorRegistry()
    registry.register(processes)
    registry.register(HeartbeatCollector(config.heartbeat_path, config.prefix))
    if depths:
        registry.register(depths)
    build = Info(
        f'{config.prefix}_build', 'Always 1: what runs, and on which versions.', registry=registry
    )
    build.info(
        {
            'service': config.service_name,
            'env': config.env,
            'release': config.release,
            'python': platform.python_version(),
            'celery': celery.__version__,
        }
    )
    return registry
