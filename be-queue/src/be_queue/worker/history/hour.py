"""The last hour of an app: what ended in each minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from celery import states
from sqlalchemy import Connection, func, select

from be_queue.worker.history.tables import TASKS
from be_queue.worker.history.task import Rows

__all__ = ['LastHour', 'Minute']

MINUTE = timedelta(minutes=1)
#: A result may be stored so long after its end, by the clock of its worker; a finished minute is
#: not counted again.
LATE = timedelta(seconds=15)
#: Results of a minute whose times make up its means.
SAMPLE = 100
#: When a call has counted so many results of finished minutes, the older ones wait for the next.
COUNTED = 100_000


@dataclass(frozen=True)
class Minute:
    """The tasks that ended in a minute.

    Arguments:
        start: its beginning.
        succeeded, failed: tasks that ended, `REVOKED` ones left out.
        waited, ran: seconds from the sending to the start, and from the start to the end; means of
            a sample, None when nothing ended.
    """

    start: datetime
    succeeded: int
    failed: int
    waited: float | None
    ran: float | None


class LastHour:
    """Counts each minute once, when it is over, and the current one each time."""

    def __init__(self) -> None:
        self._finished: dict[datetime, Minute] = {}

    def minutes(self, connection: Connection, rows: Rows) -> list[Minute]:
        """Return 60 minutes, the oldest first; those not yet counted are empty."""
        now = datetime.now(timezone.utc)
        latest = now.replace(second=0, microsecond=0)
        starts = [latest - n * MINUTE for n in range(60)]
        known = {start: self._finished[start] for start in starts if start in self._finished}
        finished, counted = dict(known), 0
        for start in starts:
            is_over = start + MINUTE + LATE < now
            if start not in known and (counted < COUNTED or not is_over):
                known[start] = minute = _minute(connection, rows, start)
                if is_over:
                    finished[start] = minute
                    counted += minute.succeeded + minute.failed
        self._finished = finished
        return [known.get(start, Minute(start, 0, 0, None, None)) for start in reversed(starts)]


def _minute(connection: Connection, rows: Rows, start: datetime) -> Minute:
    r, naive = rows.results.c, start.replace(tzinfo=None)
    ended = (r.date_done >= naive, r.date_done < naive + MINUTE)
    query = select(r.status, func.count()).where(*ended).group_by(r.status)
    counts: Counter[str] = Counter(dict(connection.execute(query).tuples().all()))
    succeeded, failed = counts[states.SUCCESS], counts[states.FAILURE]
    if not succeeded + failed:
        return Minute(start, 0, 0, None, None)
    joined = rows.results.outerjoin(TASKS, TASKS.c.task_id == r.task_id)
    times = select(TASKS.c.sent_at, rows.started_at, rows.ended_at).select_from(joined)
    sample = connection.execute(times.where(*ended).limit(SAMPLE)).all()
    waited = [(began - sent).total_seconds() for sent, began, _ in sample if sent and began]
    ran = [(end - began).total_seconds() for _, began, end in sample if began]
    return Minute(start, succeeded, failed, _mean(waited), _mean(ran))


def _mean(seconds: list[float]) -> float | None:
    return sum(seconds) / len(seconds) if seconds else None
