"""The web server beside the worker: ``gunicorn 'app.web:create_app()'``."""

from __future__ import annotations

import atexit

from celery import Celery
from flask import Flask
from prometheus_client.registry import Collector

from app.start_error import NOT_LOADED, in_one_line

with in_one_line(NOT_LOADED):
    from app.config.configuration import WorkerConfig, load_config

from app.utils import processes
from app.utils.role import Role
from app.web.checks import Check, broker_probe, results_probe
from app.web.dashboard import dashboard, queues_by_name
from app.web.depths import DepthPoller
from app.web.health import health
from app.web.metrics import ProcessCollector, metrics, registry_of
from app.web.tasks import TaskTables

__all__ = ['create_app']


def create_app() -> Flask:
    """Return the Flask app with all routes; gunicorn calls it in each of its worker processes."""
    with in_one_line(NOT_LOADED):
        config = load_config()
        worker_config = WorkerConfig(config)
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
    tasks = TaskTables(celery_app)
    web.register_blueprint(dashboard(worker_config, servers, counts, depths, tasks))
    return web
