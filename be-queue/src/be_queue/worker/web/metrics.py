"""``/metrics``: one registry for the values of all processes, and for what the web server knows."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import celery
from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from be_queue.transport import poller
from be_queue.worker import heartbeat
from be_queue.worker.heartbeat import State, seconds_since
from be_queue.worker.settings import Settings

__all__ = ['HeartbeatCollector', 'ProcessCollector', 'gauge', 'metrics', 'registry_of']

POLLER_STATES = [state.value for state in poller.State]


def metrics(registry: CollectorRegistry) -> Blueprint:
    """Return the route, which serves what the registry collects in Prometheus' text format."""
    routes = Blueprint('metrics', __name__)

    @routes.get('/metrics')
    def scrape() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


def registry_of(config: Settings, *collectors: Collector) -> CollectorRegistry:
    """Return what collects the metrics of the build, of the heartbeat, and of these collectors."""
    registry = CollectorRegistry()
    for collector in (*collectors, HeartbeatCollector(config.heartbeat_path, config.prefix)):
        registry.register(collector)
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


def gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    """Return a gauge with a sample for each tuple of the labels' values."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


class ProcessCollector(Collector):
    """Adds up what the processes have counted in the metrics directory, also those that ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        # A file is empty for a moment when a process creates it, and the client fails on it.
        files = [path for path in self._folder.glob('*.db') if path.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)
        return found


class HeartbeatCollector(Collector):
    """Metrics that only the worker's event loop knows: read from the file of its heartbeat."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        beat = heartbeat.read(self._path)
        prefix = self._prefix
        # The event loop of a worker that stops has ended, while its last tasks run.
        if beat and beat.state is State.CONSUMING:
            pollers = beat.pollers.items()
            yield gauge(
                f'{prefix}_worker_heartbeat_age_seconds',
                "Since the worker's event loop last turned; while it consumes.",
                (),
                {(): beat.age},
            )
            yield gauge(
                f'{prefix}_poller_seconds_since_receive',
                'Seconds since the last receive from the queue ended, well or badly.',
                ('queue',),
                {(queue,): poller.age for queue, poller in pollers},
            )
            yield gauge(
                f'{prefix}_poller_state',
                f'1 for what the poller of the queue does: {", ".join(POLLER_STATES)}.',
                ('queue', 'state'),
                {
                    (queue, state): float(state == poller.state)
                    for queue, poller in pollers
                    for state in POLLER_STATES
                },
            )
            yield gauge(
                f'{prefix}_queue_oldest_message_age_estimate_seconds',
                'Since the oldest message of the last receive was sent, or due if that is later; '
                '0 after a receive without messages.',
                ('queue',),
                {(queue,): seconds_since(poller.oldest_due) for queue, poller in pollers},
            )
        if beat and (load := beat.load):
            yield gauge(
                f'{prefix}_pool_processes',
                'Processes of the pool: busy or idle.',
                ('state',),
                {('busy',): load.busy, ('idle',): load.processes - load.busy},
            )
            yield gauge(
                f'{prefix}_tasks_oldest_running_seconds',
                'For how long the oldest running task has been running; 0 when none runs.',
                (),
                {(): seconds_since(load.oldest_start)},
            )
            yield gauge(
                f'{prefix}_consumer_prefetched_messages',
                'Messages that the worker holds and no process has begun.',
                ('queue',),
                {(queue,): count for queue, count in load.prefetched.items()},
            )
