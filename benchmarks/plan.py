"""What one run does, in which order: contenders take turns, round by round."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import be_queue
from benchmarks.contenders import CONTENDERS, ENV, Contender
from benchmarks.errors import BenchmarkError
from benchmarks.measures import consume, overhead, publish
from benchmarks.processes import Site
from benchmarks.recycling import recycled
from benchmarks.servers import COUNTED, Broker

__all__ = ['MEASURES', 'Plan', 'Step', 'run', 'steps']

#: On the command line, in the order of a round: what is compared within one contender goes side by
#: side. ``latency`` is measured on the worker that ``consume`` has started.
MEASURES = (
    *('ten-queues', 'consume', 'latency', 'requests', 'publish', 'batch'),
    *('overhead', 'recycled'),
)
#: Measures of the template alone.
OURS = ('overhead', 'recycled', 'ten-queues')
#: Measures that are taken once, at no delay.
ONCE = ('requests', 'overhead', 'recycled')
#: Tasks of a backlog, at no delay and with one: some seconds of work each. Not a multiple of 2,000,
#: where both children of the template's worker would be replaced just before the end.
BACKLOG = {'ours': (3000, 3000), 'default': (80, 80), 'tuned': (2000, 300), 'redis': (4000, 150)}
#: Single tasks to an idle worker, over all rounds.
SENDS = 100
#: Seconds of sending.
PUBLISH = 2.0
#: Queues of a worker that has many.
MANY = 10
#: Backlogs with metrics and without, in turn, and the tasks of each.
PAIRS = 12
PAIRED = 6001
#: Processes of a pool that are recycled.
RECYCLED = 1000


@dataclass(frozen=True)
class Plan:
    """What was chosen on the command line.

    Arguments:
        rtts: round-trip delays in milliseconds.
        rounds: how often everything is measured.
        part: of the tasks and times above.
        contenders, measures: names.
    """

    rtts: tuple[float, ...]
    rounds: int
    part: float
    contenders: tuple[str, ...]
    measures: tuple[str, ...] = MEASURES


@dataclass(frozen=True)
class Step:
    """One thing to measure."""

    rtt: float
    round: int
    contender: Contender
    measure: str

    def __str__(self) -> str:
        return f'RTT {self.rtt:g} ms, round {self.round}: {self.contender.label}, {self.measure}'


def steps(plan: Plan) -> list[Step]:
    """Return all steps in order."""
    return [
        Step(rtt, round_, CONTENDERS[name], measure)
        for round_ in range(1, plan.rounds + 1)
        for rtt in plan.rtts
        for measure in _steps_of_round(plan.measures)
        for name in plan.contenders
        if _has(CONTENDERS[name], measure)
        # At no delay requests are counted apart: see benchmarks.servers.
        if measure not in ONCE or (not rtt and round_ == 1)
    ]


def run(
    plan: Plan, todo: Sequence[Step], brokers: Mapping[tuple[str, float], Broker]
) -> Iterator[tuple[Step, list[dict[str, Any]] | Exception]]:
    """Take the steps; return each once it is done, with its samples or with what went wrong.

    Arguments:
        brokers: by kind and delay.
    """
    for step in todo:
        kind = COUNTED if step.measure == 'requests' else step.contender.broker
        broker = brokers[kind, step.rtt]
        broker.clear()
        with tempfile.TemporaryDirectory() as folder:
            prefix = f'{ENV}-{step.contender.name}-{step.rtt:g}-{step.round}-{step.measure}'
            count = MANY if step.measure == 'ten-queues' else 1
            queues = tuple(f'{prefix}-{n}'.replace('.', '_') for n in range(count))
            site = Site(step.contender, broker.url, queues, Path(folder))
            try:
                found = _take(plan, step, site, broker)
            except (BenchmarkError, AssertionError) as error:
                yield step, error
                continue
        where: dict[str, Any] = {
            'rtt': step.rtt,
            'round': step.round,
            'contender': step.contender.name,
        }
        yield step, [where | sample for sample in found]


def _steps_of_round(chosen: Sequence[str]) -> list[str]:
    """Return the measures, without that of latency where the backlog's step has it as well."""
    both = {'consume', 'latency'} <= set(chosen)
    return [name for name in MEASURES if name in chosen and not (both and name == 'latency')]


def _has(contender: Contender, measure: str) -> bool:
    if measure == 'batch':
        return contender.name == 'ours' and hasattr(be_queue, 'send_batch')
    if measure in OURS:
        return contender.name == 'ours'
    if measure == 'requests':
        return contender.broker == 'sqs'
    # A producer has nothing that is tuned.
    return measure != 'publish' or contender.name != 'tuned'


def _take(plan: Plan, step: Step, site: Site, broker: Broker) -> list[dict[str, Any]]:
    if step.measure in ('publish', 'batch'):
        answer = publish(site, broker, step.measure, PUBLISH * plan.part)
        return [{'measure': step.measure} | answer]
    if step.measure == 'overhead':
        pairs, count = max(1, round(PAIRS * plan.part)), max(2, int(PAIRED * plan.part))
        return [{'measure': 'overhead', 'pairs': overhead(site, broker, pairs, count)}]
    if step.measure == 'recycled':
        return [recycled(site, broker, max(1, int(RECYCLED * plan.part)))]
    backlog = max(2, int(BACKLOG[step.contender.name][step.rtt > 0] * plan.part))
    if step.measure == 'requests':
        consumed, _ = consume(site, broker, max(2, backlog // 2))
        return [{'measure': 'requests', 'tasks': consumed.tasks, 'requests': consumed.requests}]
    if step.measure == 'ten-queues':
        consumed, _ = consume(site, broker, backlog)
        return [{'measure': 'ten-queues'} | asdict(consumed)]
    sends = max(1, int(SENDS * plan.part) // plan.rounds) if 'latency' in plan.measures else 0
    if step.measure == 'latency':
        _, seconds = consume(site, broker, 2, sends)
        return [{'measure': 'latency', 'seconds': seconds}]
    consumed, seconds = consume(site, broker, backlog, sends)
    samples = [{'measure': 'consume'} | asdict(consumed)]
    return samples + ([{'measure': 'latency', 'seconds': seconds}] if seconds else [])
