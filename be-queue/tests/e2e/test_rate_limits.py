"""Queues with a rate limit, on real parts: process trees, SQS, Redis, and a service over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker import heartbeat
from be_queue.worker.web.health import not_consuming, stuck
from tests.support import faulty
from tests.support.counted import Counted
from tests.support.fleet import fleet, limited
from tests.support.ratelimit_service import RateLimitService, running_service
from tests.support.redis import running_redis
from tests.support.worker import Site

NAME = 'tests_shared'
#: Messages a second, and for how many seconds. ``make soak`` counts how much of a limit is used.
RATE, WINDOWS = 20, 5
WORKERS = 3
#: Names of the metrics.
STATE = 'ratelimit_state'


@pytest.fixture
def service() -> Iterator[RateLimitService]:
    with running_service() as server:
        # The template's own.
        server.limit('python_backend_worker_template_add', 1000)
        yield server


@pytest.fixture
def counted(site: Site, sqs: SqsServer) -> Counted:
    return Counted(site, sqs)


def test_a_fleet_keeps_to_its_limits(site: Site, sqs: SqsServer, service: RateLimitService) -> None:
    service.limit(NAME, RATE)
    in_redis = Counted(site, sqs, 'slow')
    by_service = Counted(site, sqs, 'retry_demo', first=1_000_000)
    both = (in_redis, by_service)
    limits = {in_redis.queue: {'limit': f'{RATE}/second'}, by_service.queue: {'name': NAME}}
    # By default a tenth of a second, and then there is no limit: too little for a busy machine.
    variables = limited(limits) | service.environment | {'RATELIMIT_TIMEOUT': '10'}
    with (
        running_redis() as redis,
        fleet(in_redis, WORKERS, RATELIMIT_REDIS_URL=redis.url, **variables),
    ):
        for counted in both:
            counted.send(RATE * WINDOWS)
        wait_until(lambda: all(c.ended() == len(c.sent) for c in both), 'all of them run', 60)
    for counted in both:
        times = [run.time for run in in_redis.runs.log if run.number in counted.sent]
        # The last tasks of a window may run in the next.
        assert int(max(times)) - int(min(times)) >= WINDOWS - 2
        # A message that was received twice is a dead letter.
        assert counted.tally().dead == counted.tally().duplicates == 0


def test_throttled_work_stays_in_sqs(counted: Counted, sqs: SqsServer) -> None:
    with counted.worker(**limited({counted.queue: {'limit': '20/day'}})) as worker:
        counted.send(50)

        def metric(name: str, **labels: str) -> float:
            return worker.metric(name, queue=counted.queue, **labels)

        wait_until(lambda: counted.ended() == 20, 'what is allowed has run')
        wait_until(lambda: sqs.in_flight(counted.queue) == 0, 'what has run is deleted')
        wait_until(lambda: metric('poller_state', state='throttled') == 1, 'it is held back')
        assert sqs.visible(counted.queue) == 30
        assert metric(STATE, state='throttled') == 1
        assert metric('ratelimit_permits_granted_total') == 20
        wait_until(lambda: metric('ratelimit_throttled_seconds_total') > 0, 'the time is counted')
        age = 'queue_oldest_message_age_estimate_seconds'
        wait_until(lambda: metric(age) >= 1, 'the oldest message ages')
        # Nor is anybody told to restart it or to send it nothing.
        beat = heartbeat.read(worker.folder / 'metrics' / 'worker.json')
        assert beat is not None
        assert not_consuming(beat) is stuck(beat) is None


def test_while_the_service_hangs_other_queues_go_on(
    counted: Counted, service: RateLimitService, sqs: SqsServer
) -> None:
    service.limit(NAME, 1000)
    # The default of a tenth of a second is an outage now and then on a busy machine.
    closed = {'RATELIMIT_FAILURE_POLICY': 'closed', 'RATELIMIT_TIMEOUT': '1', **service.environment}
    with counted.worker(**limited({counted.queue: {'name': NAME}}), **closed) as worker:
        counted.send(5)
        wait_until(lambda: counted.ended() == 5, 'it works')
        away = f'the rate limiter of SQS queue {counted.queue} is unavailable'
        back = away.replace('is unavailable', 'is back')
        # A stalled machine may have been an outage before.
        wait_until(lambda: worker.log.count(away) == worker.log.count(back), 'no outage lasts')
        before = worker.log.count(away)
        service.fail(faulty.no_answer)
        wait_until(lambda: worker.log.count(away) > before, 'the log says so')
        seen_at = time.time()

        def is_held_back() -> bool:
            beat = heartbeat.read(worker.folder / 'metrics' / 'worker.json')
            return beat.time > seen_at and beat.pollers[counted.queue].state == 'throttled'

        wait_until(is_held_back, 'the receive that had its permits before is over')
        counted.send(5)
        assert counted.site.producer().send_task('add', (1, 2)).get(timeout=30) == 3
        assert counted.ended() == 5
        assert sqs.visible(counted.queue) == 5
        assert worker.metric(STATE, queue=counted.queue, state='stopped') == 1
        service.repair()
        wait_until(lambda: counted.ended() == 10, 'the queue is polled again')
        wait_until(lambda: worker.log.count(back) > before, 'the log says so')
        assert worker.log.count(away) == worker.log.count(back) == before + 1


def test_without_a_usable_answer_an_open_policy_goes_on_without_a_limit(
    counted: Counted, service: RateLimitService
) -> None:
    service.limit(NAME, 1)
    with counted.worker(
        **limited({counted.queue: {'name': NAME}}), **service.environment
    ) as worker:
        service.fail(faulty.not_json)
        counted.send(60)
        # At one a second it would take a minute.
        wait_until(lambda: counted.ended() == 60, 'all of them run')
        assert worker.metric(STATE, queue=counted.queue, state='unlimited') == 1
        assert '(RATELIMIT_FAILURE_POLICY=open)' in worker.log


def test_a_name_that_the_service_does_not_know_stops_the_start(
    counted: Counted, service: RateLimitService
) -> None:
    unknown = limited({counted.queue: {'name': 'nobody'}}) | service.environment
    with counted.server(wait=False, **unknown) as server:
        assert server.wait_ended() == 1
        (line,) = server.log.splitlines()
        fault = f"queue {counted.queue}: the rate-limit service has no limit 'nobody'"
        assert line.startswith(f'cannot start: {fault}')
