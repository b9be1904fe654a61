"""What one run does, in which order: contenders take turns, round by round."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, ENV, BenchmarkError, Contender
from benchmarks.measures import consume, overhead, publish
from benchmarks.processes import Site
from benchmarks.servers import COUNTED, Broker, Servers

__all__ = ['MEASURES', 'Plan', 'Step', 'run', 'steps']

#: On the command line, in the order of a round: what is compared within one contender goes side by
#: side. ``latency`` is measured on the worker that ``consume`` has started.
MEASURES = ('ten-queues', 'consume', 'latency', 'requests', 'publish', 'batch', 'overhead')
#: Measures of the template alone.
OURS = ('overhead', 'ten-queues', 'batch')
#: Measures that are taken once, at no delay.
ONCE = ('requests', 'overhead')
#: Single tasks to an idle worker, over all rounds.
SENDS = 100
#: Seconds of sending.
PUBLISH = 2.0
#: Queues of a worker that has many.
MANY = 10
#: Backlogs with metrics and without, in turn, and the tasks of each.
PAIRS = 12
PAIRED = 6001


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
    # The backlog's step has the latency as well.
    left_out = {'latency'} if {'consume', 'latency'} <= set(plan.measures) else set()
    return [
        Step(rtt, round_, CONTENDERS[name], measure)
        for round_ in range(1, plan.rounds + 1)
        for rtt in plan.rtts
        for measure in MEASURES
        if measure in set(plan.measures) - left_out
        for name in plan.contenders
        if _has(CONTENDERS[name], measure, rtt)
        # At no delay requests are counted apart: see benchmarks.servers.
        if measure not in ONCE or (not rtt and round_ == 1)
    ]


def run(
    plan: Plan, todo: Sequence[Step], servers: Servers
) -> Iterator[tuple[Step, list[dict[str, Any]] | Exception]]:
    """Take the steps; return each once it is done, with its samples or with what went wrong."""
    for step in todo:
        kind = COUNTED if step.measure == 'requests' else step.contender.broker
        broker = servers.brokers[kind, step.rtt]
        broker.clear()
        with tempfile.TemporaryDirectory() as folder:
            prefix = f'{ENV}-{step.contender.name}-{step.rtt:g}-{step.round}-{step.measure}'
            count = MANY if step.measure == 'ten-queues' else 1
            queues = tuple(f'{prefix}-{n}'.replace('.', '_') for n in range(count))
            results = servers.results[step.contender.results]
            site = Site(step.contender, broker.url, queues, Path(folder), results)
            try:
                found = _take(plan, step, site, broker)
            except (BenchmarkError, AssertionError) as error:
                yield step, error
                continue
        where = {'rtt': step.rtt, 'round': step.round, 'contender': step.contender.name}
        yield step, [where | sample for sample in found]


def _has(contender: Contender, measure: str, rtt: float) -> bool:
    if contender.results:
        return measure == 'consume' and not rtt
    if measure in OURS:
        return contender.is_ours
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
    backlog = max(2, int(step.contender.backlog[step.rtt > 0] * plan.part))
    if step.measure == 'requests':
        consumed, _ = consume(site, broker, max(2, backlog // 2))
        return [{'measure': 'requests', 'tasks': consumed.tasks, 'requests': consumed.requests}]
    if step.measure == 'ten-queues':
        consumed, _ = consume(site, broker, backlog)
        return [{'measure': 'ten-queues'} | asdict(consumed)]
    wanted = 'latency' in plan.measures and not step.contender.results
    sends = max(1, int(SENDS * plan.part) // plan.rounds) if wanted else 0
    if step.measure == 'latency':
        _, seconds = consume(site, broker, 2, sends)
        return [{'measure': 'latency', 'seconds': seconds}]
    consumed, seconds = consume(site, broker, backlog, sends)
    samples = [{'measure': 'consume'} | asdict(consumed)]
    return samples + ([{'measure': 'latency', 'seconds': seconds}] if seconds else [])
