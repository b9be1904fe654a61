"""How many messages are in each queue and in its dead-letter queue: one poller asks SQS."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from celery import Celery
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from be_queue.naming import dead_letter_name
from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.redrive_policy import Policy, name_of, url_beside
from be_queue.transport.sqs_errors import code_of, is_denied, is_missing

__all__ = ['Depth', 'DepthPoller']

logger = logging.getLogger(__name__)

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

VISIBLE = 'ApproximateNumberOfMessages'
IN_FLIGHT = 'ApproximateNumberOfMessagesNotVisible'
DELAYED = 'ApproximateNumberOfMessagesDelayed'
POLICY = 'RedrivePolicy'


@dataclass(frozen=True)
class Depth:
    """Messages in a queue.

    Arguments:
        visible: wait to be received.
        in_flight: received, and neither deleted nor visible again.
        delayed: not to be received yet.
        dead_letters: visible in its dead-letter queue; None when it has none, or none that may be
            read.
        asked_at: when SQS was asked, by the monotonic clock.
    """

    visible: int
    in_flight: int
    delayed: int
    dead_letters: int | None
    asked_at: float


class DepthPoller(Collector):
    """Asks SQS about each queue, over a connection of its own, and serves the last answers.

    Arguments:
        celery_app: leads to SQS.
        prefix: first part of the metrics' names.
        queues: the queues' names on SQS.
    """

    def __init__(self, celery_app: Celery, prefix: str, queues: Sequence[str]) -> None:
        self._app = celery_app
        self._prefix = prefix
        self._channel: Any = None
        self._polling = threading.Lock()
        self._started = time.monotonic()
        self._polled_at = float('-inf')
        #: The last answers.
        self.known: dict[str, Depth] = {}
        self._errors = dict.fromkeys(queues, 0)
        self._faults: dict[str, str | None] = dict.fromkeys(queues)
        self._outage = Outage('SQS (asked for the depths of queues)', hint=CHECK_SQS)

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
            left = list(self._errors)
            try:
                if self._channel is None:
                    self._channel = self._connect()
                while left:
                    self._note(left[0], self._ask(left[0]))
                    del left[0]
            except Exception as error:  # noqa: BLE001  (kombu and boto3 have many)
                # Each of the others would wait as long.
                for queue in left:
                    self._errors[queue] += 1
                self._channel = None
                self._outage.failed(error)
            else:
                self._outage.ended()
            self._polled_at = time.monotonic()

    def depth(self, queue: str) -> Depth | None:
        """Return the depth of a queue; None when it is not known, or too old to be shown."""
        depth = self.known.get(queue)
        recent = depth and time.monotonic() - depth.asked_at < MAX_AGE_SECONDS
        return depth if recent else None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, without asking SQS."""
        messages = self._gauge(
            'queue_messages',
            'Messages in the queue by state, as SQS estimates: visible, in flight, delayed.',
            'queue',
            'state',
        )
        dead_letters = self._gauge(
            'queue_dead_letters', "Messages in the queue's dead-letter queue.", 'queue'
        )
        age = self._gauge(
            'queue_depth_age_seconds',
            'Since SQS was asked for these numbers; until it first answers, since the start.',
            'queue',
        )
        errors = CounterMetricFamily(
            f'{self._prefix}_queue_depth_errors',
            'Failed requests to SQS about the queue and its dead-letter queue.',
            labels=['queue'],
        )
        for queue, count in self._errors.items():
            errors.add_metric([queue], count)
            depth = self.known.get(queue)
            age.add_metric([queue], time.monotonic() - (depth.asked_at if depth else self._started))
            if depth:
                messages.add_metric([queue, 'visible'], depth.visible)
                messages.add_metric([queue, 'in flight'], depth.in_flight)
                messages.add_metric([queue, 'delayed'], depth.delayed)
                if depth.dead_letters is not None:
                    dead_letters.add_metric([queue], depth.dead_letters)
        yield from (messages, dead_letters, age, errors)

    def _gauge(self, name: str, what: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f'{self._prefix}_{name}', what, labels=labels)

    def _connect(self) -> Any:
        given = self._app.conf.broker_transport_options.get('client-config') or {}
        options = {'client-config': given | CLIENT_CONFIG}
        return self._app.connection_for_read(transport_options=options).channel()

    def _ask(self, queue: str) -> str | None:
        """Take note of a queue's depth; return what keeps SQS from telling all of it."""
        asked_at = time.monotonic()
        channel = self._channel
        name = channel.canonical_queue_name(queue)
        entry = channel.predefined_queues.get(name, {})
        client = channel.blocking_sqs(queue)
        try:
            url = entry.get('url') or channel.redrive.find(name)
            if url is None:
                return _missing(name)
            found = _attributes(client, url, VISIBLE, IN_FLIGHT, DELAYED, POLICY)
        except ClientError as error:
            channel.queue_urls.pop(name, None)  # it may have been deleted and made again
            return _fault(error, name)

        # Where the transport, too, looks for it.
        policy = Policy.parsed(found.get(POLICY))
        dead_url = entry.get('dead_letter_url')
        is_expected = bool(policy or dead_url)
        if dead_url is None:
            dead_url = url_beside(url, name_of(policy.target) if policy else dead_letter_name(name))
        dead_letters = fault = None
        if dead_url:
            try:
                dead_letters = int(_attributes(client, dead_url, VISIBLE)[VISIBLE])
            except ClientError as error:
                if is_expected or not is_missing(error):
                    fault = _fault(error, name_of(dead_url))
        self.known[queue] = Depth(
            int(found[VISIBLE]), int(found[IN_FLIGHT]), int(found[DELAYED]), dead_letters, asked_at
        )
        return fault

    def _note(self, queue: str, fault: str | None) -> None:
        if fault:
            self._errors[queue] += 1
        if fault != self._faults[queue]:
            if fault:
                logger.warning('queue depth unknown: queue=%s error=%s', queue, fault)
            else:
                logger.warning('queue depth known again: queue=%s', queue)
        self._faults[queue] = fault


def _attributes(client: Any, url: str, *names: str) -> dict[str, str]:
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
    found: dict[str, str] = answer['Attributes']
    return found


def _fault(error: ClientError, name: str) -> str:
    """Return what is wrong with one queue; raise the error again when it is about all of SQS."""
    if is_missing(error):
        return _missing(name)
    if is_denied(error):
        operation = error.operation_name
        return f'SQS denies {operation} ({code_of(error)}): allow sqs:{operation} on {name}'
    raise error


def _missing(name: str) -> str:
    return f'queue {name} does not exist on SQS'
