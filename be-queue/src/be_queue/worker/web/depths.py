"""How many messages are in each queue and in its dead-letter queue: one poller asks SQS."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from celery import Celery
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from be_queue.naming import dead_letter_name
from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.redrive_policy import Policy, name_of, url_beside
from be_queue.transport.sqs_errors import is_denied, is_missing
from be_queue.worker.web.metrics import gauge

__all__ = ['Depth', 'DepthPoller']

#: The dashboard shows no depth that is older.
MAX_AGE_SECONDS = 15.0
#: The dashboard does not ask again within so long, however many people look at it.
FRESH_SECONDS = 5.0
#: In place of the transport's own: the next poll is the retry.
CLIENT_CONFIG: dict[str, Any] = {
    'connect_timeout': 2,
    'read_timeout': 3,
    'retries': {'mode': 'standard', 'total_max_attempts': 2},
}

MESSAGES = 'ApproximateNumberOfMessages'


class Depth(NamedTuple):
    """Messages in a queue."""

    visible: int
    in_flight: int
    delayed: int
    #: None when it has no dead-letter queue, or none that may be read.
    dead_letters: int | None
    #: When SQS was asked, by the monotonic clock.
    asked_at: float


class DepthPoller(Collector):
    """Asks SQS about each queue, over a connection of its own, and serves the last answers."""

    def __init__(self, celery_app: Celery, prefix: str, queues: Sequence[str]) -> None:
        self._app = celery_app
        self._prefix = prefix
        self._channel: Any = None
        self._polling = threading.Lock()
        self._started = time.monotonic()
        self._polled_at = float('-inf')
        #: The last answers.
        self.known: dict[str, Depth] = {}
        self._errors = Counter(dict.fromkeys(queues, 0))
        self._outage = Outage('SQS (asked for the depths of queues)', hint=CHECK_SQS)
        rights = 'sqs:GetQueueUrl and sqs:GetQueueAttributes'
        self._outages = {
            queue: Outage(
                f'the depth of queue {queue}',
                hint=f'that {queue} and {dead_letter_name(queue)} exist, with {rights} on them',
            )
            for queue in queues
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
                if self._channel is None:
                    self._channel = self._connect()
                while left:
                    self._ask_about(left[0])
                    del left[0]
                self._outage.ended()
            except Exception as error:  # noqa: BLE001  (kombu and boto3 have many)
                self._errors.update(left)  # each of the others would wait as long
                self._channel = None
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

    def _connect(self) -> Any:
        given = self._app.conf.broker_transport_options.get('client-config') or {}
        options = {'client-config': given | CLIENT_CONFIG}
        return self._app.connection_for_read(transport_options=options).channel()

    def _ask_about(self, queue: str) -> None:
        """Take note of a queue's depth, or of an error that is about this queue alone."""
        try:
            self._ask(queue)
            self._outages[queue].ended()
        except ClientError as error:
            if not is_missing(error) and not is_denied(error):
                raise
            # It may have been deleted and made again.
            self._channel.queue_urls.pop(self._channel.canonical_queue_name(queue), None)
            self._errors[queue] += 1
            self._outages[queue].failed(error)

    def _ask(self, queue: str) -> None:
        asked_at = time.monotonic()
        channel = self._channel
        name = channel.canonical_queue_name(queue)
        entry = channel.predefined_queues.get(name, {})
        client = channel.blocking_sqs(queue)

        def attributes_of(url: str) -> dict[str, str]:
            asked = client.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])
            found: dict[str, str] = asked['Attributes']
            return found

        if (url := entry.get('url') or channel.queue_urls.get(name)) is None:
            url = channel.queue_urls[name] = client.get_queue_url(QueueName=name)['QueueUrl']
        found = attributes_of(url)
        # Where the transport, too, looks for it.
        dead_url = entry.get('dead_letter_url')
        if dead_url is None:
            policy = Policy.parsed(found.get('RedrivePolicy'))
            dead_url = url_beside(url, name_of(policy.target) if policy else dead_letter_name(name))
        dead_letters = denied = None
        try:
            dead_letters = int(attributes_of(dead_url)[MESSAGES]) if dead_url else None
        except ClientError as error:
            if not is_missing(error) and not is_denied(error):
                raise
            denied = error if is_denied(error) else None
        self.known[queue] = Depth(
            int(found[MESSAGES]),
            int(found[f'{MESSAGES}NotVisible']),
            int(found[f'{MESSAGES}Delayed']),
            dead_letters,
            asked_at,
        )
        if denied:
            raise denied
