"""The messages that a real worker holds, seen from SQS."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import blocking
from tests.support.counted import Counted
from tests.support.fleet import fleet
from tests.support.worker import Site, Worker

RECEIVED = re.compile(r'Task tests\.count\[([0-9a-f-]+)\] received')
HANDED_BACK = re.compile(r'handed back: queue=\S+ messages=(\d+)')


def test_short_tasks_do_not_wait_behind_long_ones_and_what_cannot_start_stays_on_sqs(
    site: Site, sqs: SqsServer
) -> None:
    counted = Counted(site, sqs)
    over, over_again = site.folder / 'over', site.folder / 'over again'
    counted.send(300)
    # With two children a worker is full of them, or both are.
    counted.send(2, kwargs={'until': str(over)})
    counted.send(100)
    quick = counted.sent - {300, 301}
    with fleet(counted, 2, CELERY_WORKER_MAX_TASKS_PER_CHILD=100) as workers:
        wait_until(lambda: quick <= counted.runs.ends.keys(), 'every quick task has run', 60)
        assert counted.ended() == len(quick)
        over.touch()
        counted.wait_all_run()

        counted.send(4, kwargs={'until': str(over_again)})
        wait_until(lambda: counted.runs.starts.total() == 406, 'each child has a long task')
        counted.send(20)
        # Receives in flight still bring some.
        wait_until(
            lambda: (sqs.in_flight(counted.queue), sqs.visible(counted.queue)) == (4, 20),
            'the others are on SQS',
        )
        over_again.touch()
        counted.wait_all_run()
        assert_each_return_took_one_receive(counted, workers)


def test_a_loop_that_was_blocked_gives_its_tasks_to_the_children_first(site: Site) -> None:
    with site.worker(**blocking.IMPORTS) as worker:
        assert site.producer().send_task('add', (1, 2)).get(timeout=60) == 3
        assert not HANDED_BACK.search(worker.log)


def assert_each_return_took_one_receive(counted: Counted, workers: Sequence[Worker]) -> None:
    log = '\n'.join(worker.log for worker in workers)
    receives = Counter(RECEIVED.findall(log))
    returns = sum(map(int, HANDED_BACK.findall(log)))
    assert returns == receives.total() - len(counted.sent)
    # Half of those after which a message is a dead letter, and the one that runs it.
    assert max(receives.values()) <= 6
    assert counted.tally().duplicates == counted.tally().dead == 0
