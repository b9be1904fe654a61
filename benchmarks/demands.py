"""What this transport must reach, as ratios in one run, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.figures import Figures

__all__ = ['DEMANDS', 'Demand', 'Verdict', 'verdicts']

OURS = 'ours'


@dataclass(frozen=True)
class Demand:
    """One bound.

    Arguments:
        label: what is compared.
        figure: ours, by key.
        bound: the least or the most.
        least: whether it is the least.
        against: contender and figure that ours is divided by; None for ours as it is.
        rtt: the delay in milliseconds at which it holds; None for every one.
    """

    label: str
    figure: str
    bound: float
    least: bool
    against: tuple[str, str] | None
    rtt: float | None = None


DEMANDS = (
    Demand('consume vs stock default', 'consume', 150, True, ('default', 'consume'), 0),
    Demand('consume vs stock tuned', 'consume', 4, True, ('tuned', 'consume'), 0),
    Demand('consume vs stock tuned', 'consume', 20, True, ('tuned', 'consume'), 10),
    Demand('consume vs Celery on Redis', 'consume', 1.5, True, ('redis', 'consume'), 0),
    Demand('batch publish vs stock delay() loop', 'batch', 20, True, ('default', 'publish'), 10),
    Demand('SQS requests per task, backlog', 'requests', 0.22, False, None),
    Demand('CPU per task vs stock tuned', 'cpu', 0.3, False, ('tuned', 'cpu')),
    Demand('idle latency p50 vs stock default', 'p50', 1.0, False, ('default', 'p50')),
    Demand('idle latency p99 vs stock default', 'p99', 1.2, False, ('default', 'p99')),
    Demand('ten queues with one busy vs one', 'ten_queues', 0.9, True, (OURS, 'consume')),
    Demand('consume with signals and metrics, of without', 'with_metrics', 0.95, True, None, 0),
    Demand(
        'scrape after recycled processes vs fresh',
        'scrape_recycled',
        2,
        False,
        (OURS, 'scrape_fresh'),
        0,
    ),
    Demand(
        'files after recycled processes vs fresh',
        'files_recycled',
        2,
        False,
        (OURS, 'files_fresh'),
        0,
    ),
    Demand('counts lost by recycling', 'counts_lost', 0, False, None, 0),
)


@dataclass(frozen=True)
class Verdict:
    """A demand at one delay.

    Arguments:
        value: what was measured; None when a figure that it takes was not.
    """

    demand: Demand
    rtt: float
    value: float | None

    @property
    def outcome(self) -> str:
        """``reached``, ``missed`` or ``unmeasured``."""
        if self.value is None:
            return 'unmeasured'
        bound = self.demand.bound
        reached = self.value >= bound if self.demand.least else self.value <= bound
        return 'reached' if reached else 'missed'

    @property
    def bound_text(self) -> str:
        """The bound in words."""
        sign = '≥' if self.demand.least else '≤'
        return f'{sign} {self.demand.bound:g}{" x" if self.demand.against else ""}'

    @property
    def value_text(self) -> str:
        """What was measured."""
        if self.value is None:
            return '-'
        digits = 0 if self.value >= 100 else 1 if self.value >= 10 else 3
        return f'{self.value:.{digits}f}{" x" if self.demand.against else ""}'


def verdicts(found: Mapping[float, Figures]) -> list[Verdict]:
    """Judge the figures of each delay."""
    return [
        Verdict(demand, rtt, _value(demand, figures))
        for demand in DEMANDS
        for rtt, figures in found.items()
        if demand.rtt in (None, rtt)
    ]


def _value(demand: Demand, figures: Figures) -> float | None:
    mine = figures.get(OURS, {}).get(demand.figure)
    if demand.against is None or mine is None:
        return mine
    contender, key = demand.against
    other = figures.get(contender, {}).get(key)
    return mine / other if other else None
