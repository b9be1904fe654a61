"""The web server beside the worker: health, metrics and the dashboard."""

from __future__ import annotations

import atexit

from celery import Celery
from flask import Flask
from prometheus_client.registry import Collector

from be_queue.worker import processes
from be_queue.worker.role import Role
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.web.access import Access
from be_queue.worker.web.actions import actions
from be_queue.worker.web.dashboard import dashboard, queues_by_name
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check, broker_probe, health, results_probe
from be_queue.worker.web.metrics import ProcessCollector, metrics, registry_of

__all__ = ['create_app']


def create_app(worker_config: WorkerConfig) -> Flask:
    """Return the Flask app with all routes; gunicorn calls it in each of its worker processes."""
    config = worker_config.APP
    processes.start(Role.WEB)
    # When gunicorn tells the process to stop, it ends as Python does.
    atexit.register(processes.stop)
    # Not the worker's app, which imports the tasks and all that they need.
    celery_app = Celery(config.service_name)
    celery_app.config_from_object(worker_config)

    servers = [Check('broker', broker_probe(celery_app))]
    if worker_config.stores_results:
        servers.append(Check('results', results_probe(celery_app)))
    counts = ProcessCollector(config.prometheus_multiproc_dir)
    queues = [*queues_by_name(worker_config), worker_config.TOPOLOGY.platform]
    depths = DepthPoller(celery_app, config.prefix, [name for name in queues if name])
    collectors: list[Collector] = [counts]
    if interval := config.queue_depth_interval:
        depths.poll_every(interval)
        collectors.append(depths)

    web = Flask(__name__)
    web.json.sort_keys = False  # type: ignore[attr-defined]
    web.register_blueprint(health(config, servers))
    web.register_blueprint(metrics(registry_of(config, *collectors)))
    access = Access(config, web)
    pages = dashboard(worker_config, celery_app, servers, counts, depths)
    web.register_blueprint(access.protect(pages))
    web.register_blueprint(actions(celery_app, access))
    return web
