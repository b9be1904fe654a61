"""Tables of a run, on the terminal and as Markdown, and whether the demands are reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.contenders import CONTENDERS
from benchmarks.figures import FIGURES, Figure, Figures

__all__ = ['DEMANDS', 'Demand', 'Report', 'Verdict']

OURS = 'ours'
COLOURS = {'reached': 'green', 'missed': 'red', 'unmeasured': 'yellow'}


@dataclass(frozen=True)
class Demand:
    """One bound of a figure, or of its ratio to another one of the same run.

    Arguments:
        bound: the lowest value, or with ``most`` the highest.
        figure, contender: what is judged.
        against: contender and figure that it is divided by.
        rtt: the delay in milliseconds at which it holds; None for every one.
    """

    label: str
    bound: float
    figure: str
    against: tuple[str, str] | None = None
    rtt: float | None = None
    most: bool = False
    contender: str = OURS

    def value(self, figures: Figures) -> float | None:
        """Return what was measured; None when a figure is missing."""
        value = figures.get(self.contender, {}).get(self.figure)
        if self.against is None or value is None:
            return value
        contender, figure = self.against
        other = figures.get(contender, {}).get(figure)
        return value / other if other else None


DEMANDS = (
    Demand('consume vs stock default', 150, 'consume', ('default', 'consume'), rtt=0),
    Demand('consume vs stock tuned', 4, 'consume', ('tuned', 'consume'), rtt=0),
    Demand('consume vs stock tuned', 20, 'consume', ('tuned', 'consume'), rtt=10),
    Demand('consume vs Celery on Redis', 1.5, 'consume', ('redis', 'consume'), rtt=0),
    Demand(
        'consume, results in PostgreSQL vs Celery on Redis with results in Redis',
        1,
        'consume',
        ('redis-results', 'consume'),
        rtt=0,
        contender='ours-results',
    ),
    Demand('batch publish vs stock delay() loop', 20, 'batch', ('default', 'publish'), rtt=10),
    Demand('SQS requests per task, backlog', 0.22, 'requests', most=True),
    Demand('CPU per task vs stock tuned', 0.3, 'cpu', ('tuned', 'cpu'), most=True),
    Demand('idle latency p50 vs stock default', 1, 'p50', ('default', 'p50'), most=True),
    Demand('idle latency p99 vs stock default', 1.2, 'p99', ('default', 'p99'), most=True),
    Demand('ten queues with one busy vs one', 0.9, 'ten_queues', (OURS, 'consume')),
    Demand('consume with signals and metrics, of without', 0.95, 'with_metrics', rtt=0),
)


@dataclass(frozen=True)
class Verdict:
    """A demand at one delay, and what was measured."""

    demand: Demand
    rtt: float
    value: float | None

    @property
    def outcome(self) -> str:
        """``reached``, ``missed`` or ``unmeasured``."""
        if self.value is None:
            return 'unmeasured'
        most, bound = self.demand.most, self.demand.bound
        return 'reached' if (self.value <= bound if most else self.value >= bound) else 'missed'

    def row(self) -> list[str]:
        """Return the cells of its row."""
        unit = ' x' if self.demand.against else ''
        bound = f'{"≤" if self.demand.most else "≥"} {self.demand.bound:g}{unit}'
        value = '-' if self.value is None else f'{self.value:.3g}{unit}'
        return [self.demand.label, f'{self.rtt:g}', bound, value, self.outcome]


@dataclass(frozen=True)
class Report:
    """What a run has found.

    Arguments:
        about: when, where and what, in words.
        figures: by delay in milliseconds.
        left_out: why something is missing, by its name.
    """

    about: dict[str, Any]
    figures: dict[float, Figures]
    left_out: dict[str, str]

    @property
    def verdicts(self) -> list[Verdict]:
        """The demands, judged."""
        return [
            Verdict(demand, rtt, demand.value(figures))
            for demand in DEMANDS
            for rtt, figures in self.figures.items()
            if demand.rtt in (None, rtt)
        ]

    def tables(self) -> list[Table]:
        """Return all tables for a terminal."""
        shown = []
        for title, header, rows in self._tables():
            table = Table(title=title, box=box.SIMPLE_HEAD, title_justify='left')
            table.add_column(header[0], no_wrap=True)
            for name in header[1:]:
                table.add_column(name, justify='right')
            for row in rows:
                table.add_row(*row[:-1], f'[{COLOURS.get(row[-1], "default")}]{row[-1]}[/]')
            shown.append(table)
        return shown

    def notes(self) -> list[str]:
        """Return what to know before reading the tables."""
        about = ', '.join(f'{name} {value}' for name, value in self.about.items())
        return [about, *(f'Left out: {name}: {why}.' for name, why in self.left_out.items())]

    def markdown(self) -> str:
        """Return all tables for a file."""
        parts = ['# Results of `make bench`', *self.notes()]
        for title, header, rows in self._tables():
            lines = [header, ['---', *('--:' for _ in header[1:])], *rows]
            parts += [f'## {title}', '\n'.join(f'| {" | ".join(line)} |' for line in lines)]
        return '\n\n'.join(parts) + '\n'

    def _tables(self) -> Iterable[tuple[str, list[str], list[list[str]]]]:
        header = ['figure', 'RTT, ms', 'demanded', 'measured', 'outcome']
        yield 'Demands', header, [verdict.row() for verdict in self.verdicts]
        for rtt, figures in self.figures.items():
            names = [name for name in CONTENDERS if name in figures]
            if names:
                header = ['figure', *(CONTENDERS[name].label for name in names)]
                title = f'RTT {rtt:g} ms (in brackets: {CONTENDERS[OURS].label} divided by it)'
                yield title, header, _rows(figures, names)


def _rows(figures: Figures, names: list[str]) -> list[list[str]]:
    rows = []
    for figure in FIGURES:
        values = {name: figures[name].get(figure.key) for name in names}
        if any(value is not None for value in values.values()):
            mine = values.get(OURS)
            cells = [_cell(figure, v, mine, name) for name, v in values.items()]
            rows.append([figure.label, *cells])
    return rows


def _cell(figure: Figure, value: float | None, mine: float | None, name: str) -> str:
    if value is None:
        return '-'
    text = figure.text(value)
    if name == OURS or not mine or not value:
        return text
    ratio = mine / value
    return f'{text} ({ratio:.{2 if ratio < 10 else 0}f}x)'
