"""The dashboard: an overview, the list of tasks, and the dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery
from flask import Blueprint

from be_queue.worker.history import History
from be_queue.worker.settings import WorkerConfig
from be_queue.worker.web.dashboard import filters, overview
from be_queue.worker.web.dashboard.overview import queues_by_name
from be_queue.worker.web.dashboard.page import Pages, add_headers
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check
from be_queue.worker.web.metrics import ProcessCollector

__all__ = ['dashboard', 'queues_by_name']


def dashboard(
    worker_config: WorkerConfig,
    celery_app: Celery,
    servers: Sequence[Check],
    counts: ProcessCollector,
    depths: DepthPoller,
) -> Blueprint:
    """Return the routes of the pages; their templates extend ``dashboard/base.html``."""
    routes = Blueprint('dashboard', __name__)
    for each in (filters.number, filters.duration, filters.ago):
        routes.add_app_template_filter(each)
    pages = Pages(worker_config.APP, servers)
    routes.app_context_processor(pages.context)
    routes.after_request(add_headers)
    history = History(celery_app)
    overview.add_page(routes, pages, worker_config, counts, depths, history)
    return routes
