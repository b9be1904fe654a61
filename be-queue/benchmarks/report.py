"""From samples to figures, and whether they meet the demands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.contenders import CONTENDERS

__all__ = ['Figures', 'demands', 'figures', 'markdown']

#: Value by contender, then by the figure's key.
Figures = dict[str, dict[str, float]]

OURS = 'ours'
DELETES = ('DeleteMessage', 'DeleteMessageBatch')
#: Requests to SQS of a worker, and of a producer.
OPERATIONS = {
    'requests': ('ReceiveMessage', *DELETES),
    'receives': ('ReceiveMessage',),
    'deletes': DELETES,
}
SENDS = ('SendMessage', 'SendMessageBatch')

#: Rows of a table: key, label with unit, and digits after the point of values below 100.
ROWS = (
    ('consume', 'consume, tasks/s', 1),
    ('ten_queues', 'consume, one of ten queues, tasks/s', 1),
    ('cpu', 'CPU per task, ms', 2),
    ('requests', 'SQS requests per task, backlog', 3),
    ('receives', '  receive', 3),
    ('deletes', '  delete', 3),
    ('publish', 'publish with delay(), tasks/s', 0),
    ('publish_requests', '  SQS requests per task', 3),
    ('batch', 'publish with send_batch(), tasks/s', 0),
    ('batch_requests', '  SQS requests per task', 3),
    ('p50', 'idle latency p50, ms', 1),
    ('p99', 'idle latency p99, ms', 1),
    ('repeated', 'tasks that ran more than once', 0),
)


@dataclass(frozen=True)
class Demand:
    """One bound of a figure, or of its ratio to another one of the same run.

    Arguments:
        bound: the lowest value, or with ``most`` the highest.
        figure, contender: the figure that is judged.
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

    def value(self, found: Figures) -> float | None:
        """Return the measured value; None when a figure is missing."""
        value = found.get(self.contender, {}).get(self.figure)
        if self.against is None or value is None:
            return value
        contender, figure = self.against
        other = found.get(contender, {}).get(figure)
        return value / other if other else None

    def outcome(self, value: float | None) -> str:
        """Return ``reached``, ``missed`` or ``unmeasured``."""
        if value is None:
            return 'unmeasured'
        is_reached = value <= self.bound if self.most else value >= self.bound
        return 'reached' if is_reached else 'missed'


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
    Demand('SQS requests per task, backlog', 0.22, 'requests', rtt=10, most=True),
    Demand('CPU per task vs stock tuned', 0.3, 'cpu', ('tuned', 'cpu'), most=True),
    Demand('idle latency p50 vs stock default', 1, 'p50', ('default', 'p50'), most=True),
    Demand('idle latency p99 vs stock default', 1.2, 'p99', ('default', 'p99'), most=True),
    Demand('ten queues with one busy vs one', 0.9, 'ten_queues', (OURS, 'consume')),
)


def figures(samples: Iterable[dict[str, Any]], rtt: float) -> Figures:
    """Return medians over the rounds at one delay; a figure without samples is left out."""
    grouped: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        if sample['rtt'] == rtt:
            grouped[sample['contender'], sample['measure']].append(sample)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (contender, measure), group in grouped.items():
        values = found[contender]
        if measure == 'latency':
            seconds = [value for sample in group for value in sample['seconds']]
            percentiles = quantiles(seconds, n=100, method='inclusive') if seconds[1:] else ()
            values |= {f'p{n}': percentiles[n - 1] * 1000 for n in (50, 99) if percentiles}
            continue
        rate = median(sample['rate'] for sample in group)
        values[measure.replace('-', '_')] = rate
        if measure == 'consume':
            values['repeated'] = sum(sample['repeated'] for sample in group)
            if cpu := [sample['cpu'] for sample in group if sample['cpu'] is not None]:
                values['cpu'] = median(cpu)
        if any(sample['requests'] for sample in group):
            operations = OPERATIONS if measure == 'consume' else {f'{measure}_requests': SENDS}
            values |= {key: _per_task(group, names) for key, names in operations.items()}
    return dict(found)


def demands(found: dict[float, Figures]) -> list[dict[str, Any]]:
    """Return each demand at each delay, with ``rtt``, ``value`` and ``outcome``."""
    return [
        asdict(demand) | {'rtt': rtt, 'value': value, 'outcome': demand.outcome(value)}
        for demand in DEMANDS
        for rtt, figures in found.items()
        if demand.rtt in (None, rtt)
        for value in (demand.value(figures),)
    ]


def markdown(about: dict[str, Any], found: dict[float, Figures], left_out: dict[str, str]) -> str:
    """Return the tables.

    Arguments:
        about: when, where and what, in words.
        found: by delay in milliseconds.
        left_out: why something is missing, by its name.
    """
    parts = [
        '# Results of `make bench`',
        ', '.join(f'{name} {value}' for name, value in about.items()),
        *(f'Left out: {name}: {why}.' for name, why in left_out.items()),
        '## Demands',
        _table(
            ['figure', 'RTT, ms', 'demanded', 'measured', 'outcome'],
            (_demand_row(demand) for demand in demands(found)),
        ),
    ]
    for rtt, figures in found.items():
        if names := [name for name in CONTENDERS if name in figures]:
            labels = [CONTENDERS[name].label for name in names]
            ours = CONTENDERS[OURS].label
            parts.append(f'## RTT {rtt:g} ms (in brackets: {ours} divided by it)')
            parts.append(_table(['figure', *labels], _rows(figures, names)))
    return '\n\n'.join(parts) + '\n'


def _per_task(group: Sequence[dict[str, Any]], operations: Sequence[str]) -> float:
    requests = sum(sample['requests'].get(name, 0) for sample in group for name in operations)
    tasks: int = sum(sample['tasks'] for sample in group)
    return requests / tasks


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ['---', *('--:' for _ in header[1:])], *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _demand_row(demand: dict[str, Any]) -> list[str]:
    unit = ' x' if demand['against'] else ''
    bound = f'{"≤" if demand["most"] else "≥"} {demand["bound"]:g}{unit}'
    value = '-' if demand['value'] is None else f'{demand["value"]:.3g}{unit}'
    return [demand['label'], f'{demand["rtt"]:g}', bound, value, demand['outcome']]


def _rows(figures: Figures, names: Sequence[str]) -> Iterator[list[str]]:
    for key, label, digits in ROWS:
        values = [figures[name].get(key) for name in names]
        if any(value is not None for value in values):
            mine = figures.get(OURS, {}).get(key)
            pairs = zip(names, values, strict=True)
            yield [label, *(_cell(v, digits, mine if n != OURS else None) for n, v in pairs)]


def _cell(value: float | None, digits: int, mine: float | None) -> str:
    if value is None:
        return '-'
    text = f'{value:,.{0 if value >= 100 else digits}f}'
    if not mine or not value:
        return text
    ratio = mine / value
    return f'{text} ({ratio:.{2 if ratio < 10 else 0}f}x)'
