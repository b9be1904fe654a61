"""How much of a shared rate limit a fleet uses, and how often it asks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.counted import Counted
from tests.support.fleet import fleet, limited
from tests.support.ratelimit_service import running_service
from tests.support.redis import running_redis
from tests.support.worker import Site

__all__ = ['measured']

NAME = 'soak_shared'
#: Messages a second, for so many seconds, by so many workers.
RATE, SECONDS, WORKERS = 50, 20, 4


def measured(site: Site, sqs: SqsServer) -> Iterator[str]:
    """Yield a line for a limit in Redis, and one for a limit of a service, used side by side."""
    with running_redis() as redis, running_service() as service:
        service.limit(NAME, RATE)
        service.limit('python_backend_worker_template_add', 1000)
        in_redis = Counted(site, sqs, 'slow')
        by_service = Counted(site, sqs, 'retry_demo', first=1_000_000)
        limits = {in_redis.queue: {'limit': f'{RATE}/second'}, by_service.queue: {'name': NAME}}
        # By default a tenth of a second, and then there is no limit: too little for a busy machine.
        patient = {'RATELIMIT_REDIS_URL': redis.url, 'RATELIMIT_TIMEOUT': '10'}
        variables = limited(limits) | service.environment | patient
        with fleet(in_redis, WORKERS, **variables):
            for counted in (in_redis, by_service):
                counted.send(RATE * 2 * SECONDS)
            wait_until(lambda: in_redis.ended() and by_service.ended(), 'both queues are served')
            # Windows begin at full seconds.
            begin = math.ceil(time.time()) + 1
            wait_until(lambda: time.time() > begin, 'a window begins')
            before = redis.scripts_run(), service.requests[NAME]
            wait_until(lambda: time.time() > begin + SECONDS, 'the time is over', 2 * SECONDS)
            after = redis.scripts_run(), service.requests[NAME]
            runs = [run for run in in_redis.runs.log if begin <= run.time < begin + SECONDS]
    for what, counted, first, last in zip(
        ('Redis', 'service'), (in_redis, by_service), before, after, strict=True
    ):
        ran = sum(run.number in counted.sent for run in runs)
        yield (
            f'  {what}: {ran / (RATE * SECONDS):.1%} of the limit used, '
            f'{(last - first) / ran:.3f} requests a task'
        )
