"""What the metrics of recycled processes cost, and whether they are all there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.backlog import fill
from benchmarks.measures import wait_run, wait_settled
from benchmarks.processes import CONCURRENCY, Site
from benchmarks.servers import Broker
from benchmarks.web import running_web
from tests.support.waiting import wait_until

__all__ = ['recycled']

#: Tasks of a process that is recycled, and one more is sent: so one is left that has run one.
EACH = 2
#: Tasks of the worker to compare with: each of its processes runs some.
FRESH = 50


def recycled(site: Site, broker: Broker, count: int) -> dict[str, Any]:
    """Return what a scrape takes of a worker that has recycled ``count`` processes.

    Beside it, of a worker whose processes stay.
    """
    fresh = _scraped(site.beside('fresh'), broker, FRESH, 0)
    after = _scraped(site.beside('recycled'), broker, count * EACH + 1, count)
    return {
        'measure': 'recycled',
        'children': count,
        'lost': fresh.lost + after.lost,
        'fresh': fresh.seconds,
        'recycled': after.seconds,
        'fresh_files': fresh.files,
        'recycled_files': after.files,
    }


@dataclass(frozen=True)
class _Scraped:
    lost: float
    seconds: float
    files: int


def _scraped(site: Site, broker: Broker, count: int, children: int) -> _Scraped:
    """Run so many tasks, in processes of which so many are recycled; look at the metrics."""
    site.produce('seed')
    fill(broker, site.queues[0], count)
    flags = ('--max-tasks-per-child', str(EACH)) if children else ()
    with running_web(site) as web, site.worker(*flags) as worker:
        wait_run(worker, site.records, count)
        wait_settled(site, broker, worker)

        def all_replaced() -> bool:
            worker.check_alive()
            return web.total('pool_processes_started_total') >= children + CONCURRENCY

        wait_until(all_replaced, 'every process that was recycled is replaced')
        counted = web.total('worker_tasks_count_total', state='SUCCESS')
        files = len(list(site.metrics_folder.iterdir()))
        return _Scraped(count - counted, web.scrape_seconds(), files)
