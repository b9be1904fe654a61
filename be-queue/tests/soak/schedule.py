"""Schedulers that are killed at random: no due time is lost."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta
from pathlib import Path

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from tests.integration.scene import Scene
from tests.integration.schedulers import EVERY, Schedulers
from tests.soak.table import Row
from tests.support.counted import Tally

__all__ = ['killed_schedulers']

#: Without a message for so long, a due time counts as lost: two schedulers run at any time.
MAX_GAP = timedelta(seconds=5)


def killed_schedulers(
    sqs: SqsServer, postgres: PostgresServer, folder: Path, due_times: int
) -> Row:
    """Kill one of three schedulers again and again, until so many due times are sent."""
    kills = 0
    with Schedulers(Scene(sqs), postgres, folder) as schedulers:
        while len(schedulers.sent) < due_times:
            schedulers.wait_for_more(random.randrange(1, 20))
            schedulers.kill_one()
            kills += 1
    sent = schedulers.sent
    found = sorted(map(datetime.fromisoformat, sent))
    due = (found[-1] - found[0]) // EVERY + 1
    gaps = [after - before for before, after in itertools.pairwise(found)]
    tally = Tally(
        sent=due,
        refused=0,
        run=len(sent),
        duplicates=sent.total() - len(sent),
        cut_short=0,
        lost=sum(gap // EVERY - 1 for gap in gaps if gap > MAX_GAP),
        dead=0,
    )
    # A scheduler that is late by more than the interval sends once for all that was due.
    note = f'{due - len(sent)} due times sent with the next, for {max(gaps).total_seconds():.1f} s'
    # One that is killed after it has sent, and before it has committed that, is seen twice.
    return Row(f'SIGKILL on schedulers, {kills} kills', tally, kills + Schedulers.COUNT, note)
