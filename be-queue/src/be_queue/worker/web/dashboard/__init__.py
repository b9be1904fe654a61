"""The dashboard: an overview, the history of tasks, and the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from celery import Celery
from flask import Blueprint

from be_queue import Queues
from be_queue.worker.history import History
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.web.dashboard import dead_letters, filters, overview, tasks
from be_queue.worker.web.dashboard.overview import queues_by_name
from be_queue.worker.web.dashboard.page import Pages
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check
from be_queue.worker.web.metrics import ProcessCollector

__all__ = ['dashboard', 'queues_by_name']

FILTERS = (filters.number, filters.percent, filters.duration, filters.ago)


def dashboard(
    worker_config: WorkerConfig,
    celery_app: Celery,
    servers: Sequence[Check],
    counts: ProcessCollector,
    depths: DepthPoller,
) -> Blueprint:
    """Return the routes of the pages, whose templates extend ``dashboard/base.html``."""
    routes = Blueprint('dashboard', __name__)
    for each in FILTERS:
        routes.add_app_template_filter(each)
    config = worker_config.APP
    pages = Pages(config, servers)
    routes.app_context_processor(pages.context)

    mapping, topology = cast(Queues, worker_config.QUEUES), worker_config.TOPOLOGY
    queues = {mapping.sqs_name(queue): queue.task for queue in mapping}
    queues[topology.celery] = "Celery's own"
    history = History(celery_app)
    overview.add_page(routes, pages, worker_config, celery_app, counts, depths, history)
    tasks.add_pages(routes, pages, queues, history, config.trace_url)
    if topology.platform:
        queues = queues | {topology.platform: 'copies for the monitor'}
    dead_letters.add_pages(routes, pages, queues, celery_app, depths, config.dashboard_arguments)
    return routes
