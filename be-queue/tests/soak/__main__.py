"""The long forms of the reliability tests: ``make soak``.

Counts are printed as they come; the exit status is 1 when a task was lost, or ran more often than
what was in flight explains.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from be_queue.testing.postgres import PostgresServer, running_postgres
from be_queue.testing.sqs import SqsServer, running_sqs
from tests.soak import faults, holding, kills, rates, schedule, sigterm
from tests.soak.table import HEAD, Row
from tests.support.counted import Counted
from tests.support.worker import Site


@dataclass
class Soak:
    """The servers and sizes of a run."""

    sqs: SqsServer
    postgres: PostgresServer
    options: argparse.Namespace

    def counted(self) -> Counted:
        """Return surroundings of their own."""
        folder = Path(tempfile.mkdtemp(dir=self.options.folder))
        return Counted(Site(folder, self.sqs.url, self.postgres.environment), self.sqs)

    def kills(self) -> Iterator[Row]:
        """Yield a row for each kind of signal."""
        for part in (
            kills.killed_children,
            kills.killed_workers,
            kills.lost_machines,
            kills.stopped_workers,
        ):
            yield part(self.counted(), self.options.rounds, self.options.tasks)

    def holding(self) -> Iterator[Row]:
        """Yield a row for each way to hold a message."""
        for form in holding.FORMS.values():
            yield holding.held(self.counted(), form, timeout=self.options.visibility_timeout)
        yield holding.held_on_fifo(self.counted(), timeout=self.options.visibility_timeout)

    def faults(self) -> Iterator[Row]:
        """Yield a row for each fault of each call, and one for all tasks together."""
        for call in faults.CALLS:
            counted, bound = self.counted(), 0
            with faults.busy(counted, visibility_timeout=60) as load:
                for fault in (*faults.FAULTS, *[faults.OUTAGE] * (call == 'receive')):
                    seconds = 30.0 if fault == faults.OUTAGE else self.options.fault_seconds
                    trial = faults.faulted(load, call, fault, seconds, patience=60.0)
                    bound += trial.in_flight
                    yield trial.row
            yield Row(f'{call}: all of them', counted.tally(), bound)

    def sigterm(self) -> Iterator[Row]:
        """Yield nothing; print how long messages around a SIGTERM are hidden."""
        trials = []
        for _ in range(self.options.trials):
            trials.append(sigterm.hidden(self.counted(), patience=120.0))
            say(f'  {trials[-1]}')
        say(sigterm.summary(trials))
        yield from ()

    def schedule(self) -> Iterator[Row]:
        """Yield a row for schedulers that are killed."""
        folder = Path(tempfile.mkdtemp(dir=self.options.folder))
        yield schedule.killed_schedulers(self.sqs, self.postgres, folder, self.options.due_times)

    def rates(self) -> Iterator[Row]:
        """Yield nothing; print how much of a rate limit is used."""
        for line in rates.measured(self.counted().site, self.sqs):
            say(line)
        yield from ()


PARTS: dict[str, Callable[[Soak], Iterator[Row]]] = {
    'kills': Soak.kills,
    'holding': Soak.holding,
    'faults': Soak.faults,
    'sigterm': Soak.sigterm,
    'rates': Soak.rates,
    'schedule': Soak.schedule,
}


def main() -> int:
    """Run the parts asked for; return the exit status."""
    options = _parser().parse_args()
    random.seed(options.seed)
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix='soak-') as options.folder,
        running_sqs() as sqs,
        running_postgres() as postgres,
    ):
        soak = Soak(sqs, postgres, options)
        for name in options.parts or PARTS:
            say(f'\n{name}\n{HEAD}')
            started = time.monotonic()
            for row in PARTS[name](soak):
                rows.append(row)
                say(str(row))
            say(f'  {time.monotonic() - started:.0f} s')
    failed = [row for row in rows if row.fault]
    say(f'\n{len(rows)} rows, {len(failed)} with a fault (seed {options.seed})\n{HEAD}')
    for row in rows:
        say(str(row))
    return 1 if failed else 0


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f'{line}\n')
    sys.stdout.flush()


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f'{name}: must be one of {", ".join(PARTS)}')
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m tests.soak', description=__doc__)
    # Not by choices: with them argparse of Python 3.11 refuses that none is given.
    parser.add_argument('parts', nargs='*', type=_part, metavar='PART', help='all by default')
    number = {'type': int, 'metavar': 'N'}
    parser.add_argument('--rounds', default=20, help='of each signal (20)', **number)
    parser.add_argument('--tasks', default=2000, help='of each round (2000)', **number)
    parser.add_argument('--trials', default=50, help='around a SIGTERM (50)', **number)
    parser.add_argument('--due-times', default=300, help='of a schedule (300)', **number)
    parser.add_argument('--fault-seconds', default=5.0, type=float, help='of each fault (5)')
    parser.add_argument('--visibility-timeout', default=10, help='of held messages (10)', **number)
    parser.add_argument('--seed', default=random.randrange(10_000), help='of chance', **number)
    return parser


if __name__ == '__main__':
    sys.exit(main())
