"""How many messages are in each queue and in its dead-letter queue: one poller asks SQS."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from botocore.exceptions import ClientError
from celery import Celery
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from be_queue.dead_letter_queue import OperationError
from be_queue.naming import dead_letter_name
from be_queue.operations import Depth, ManagedQueue, queues
from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.sqs_errors import is_denied
from be_queue.worker.web.metrics import gauge

__all__ = ['DepthPoller']

#: The dashboard shows no depth that is older.
MAX_AGE_SECONDS = 15.0
#: The dashboard does not ask again within so long, however many people look at it.
FRESH_SECONDS = 5.0


class DepthPoller(Collector):
    """Asks SQS about each queue, over a connection of its own, and serves the last answers."""

    def __init__(self, celery_app: Celery, prefix: str, names: Sequence[str]) -> None:
        self._app = celery_app
        self._prefix = prefix
        self._queues: list[ManagedQueue] = []
        self._polling = threading.Lock()
        self._started = time.monotonic()
        self._polled_at = float('-inf')
        #: The last answers.
        self.known: dict[str, Depth] = {}
        self._errors = Counter(dict.fromkeys(names, 0))
        self._outage = Outage('SQS (asked for the depths of queues)', hint=CHECK_SQS)
        rights = 'sqs:GetQueueUrl and sqs:GetQueueAttributes'
        self._outages = {
            queue: Outage(
                f'the depth of queue {queue}',
                hint=f'that {queue} and {dead_letter_name(queue)} exist, with {rights} on them',
            )
            for queue in names
        }

    def poll_every(self, seconds: float) -> None:
        """Poll now and then after each pause, in a daemon thread."""

        def run() -> None:
            while True:
                self.poll(min_age=0)
                time.sleep(seconds)

        threading.Thread(target=run, name='queue depths', daemon=True).start()

    def poll(self, min_age: float = FRESH_SECONDS) -> None:
        """Ask about all queues, unless that was done less than ``min_age`` seconds ago."""
        with self._polling:
            if time.monotonic() - self._polled_at < min_age:
                return
            left = list(self._outages)
            try:
                if not self._queues:
                    self._queues = [q for q in queues(self._app) if q.app_name in self._outages]
                for queue in self._queues:
                    self._ask_about(queue)
                    left.remove(queue.app_name)
                self._outage.ended()
            except Exception as error:  # noqa: BLE001  (kombu and boto3 have many)
                self._errors.update(left)  # each of the others would wait as long
                self._queues = []
                self._outage.failed(error)
            self._polled_at = time.monotonic()

    def depth(self, queue: str) -> Depth | None:
        """Return the depth of a queue; None when it is not known, or too old to be shown."""
        depth = self.known.get(queue)
        recent = depth and time.monotonic() - depth.asked_at < MAX_AGE_SECONDS
        return depth if recent else None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, without asking SQS."""
        prefix, known, now = self._prefix, self.known.copy(), time.monotonic()
        yield gauge(
            f'{prefix}_queue_messages',
            'Messages in the queue by state, as SQS estimates: visible, in flight, delayed.',
            ('queue', 'state'),
            {
                (queue, name.replace('_', ' ')): getattr(depth, name)
                for queue, depth in known.items()
                for name in ('visible', 'in_flight', 'delayed')
            },
        )
        yield gauge(
            f'{prefix}_queue_dead_letters',
            "Messages in the queue's dead-letter queue.",
            ('queue',),
            {(q,): d.dead_letters for q, d in known.items() if d.dead_letters is not None},
        )
        yield gauge(
            f'{prefix}_queue_depth_age_seconds',
            'Since SQS was asked for these numbers; until it first answers, since the start.',
            ('queue',),
            {
                (queue,): now - (known[queue].asked_at if queue in known else self._started)
                for queue in self._errors
            },
        )
        errors = CounterMetricFamily(
            f'{prefix}_queue_depth_errors',
            'Failed requests to SQS about the queue and its dead-letter queue.',
            labels=['queue'],
        )
        for queue, count in self._errors.items():
            errors.add_metric([queue], count)
        yield errors

    def _ask_about(self, queue: ManagedQueue) -> None:
        """Store a queue's depth, or count an error of this queue alone."""
        name = queue.app_name
        fault: Exception | None
        try:
            depth = queue.depth()
            fault = depth.denied if depth else OperationError(f'{queue.name} does not exist')
            if depth:
                self.known[name] = depth
        except ClientError as error:
            if not is_denied(error):
                raise
            fault = error
        if fault:
            self._errors[name] += 1
            self._outages[name].failed(fault)
        else:
            self._outages[name].ended()
