"""From samples to figures, and whether they meet the demands."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.contenders import CONTENDERS

__all__ = ['Figures', 'demands', 'figures', 'markdown', 'readme', 'with_table']

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
    ('of_floor', 'consume, of the floor', 2),
    ('ten_queues', 'consume, one of ten queues, tasks/s', 1),
    ('cpu', 'CPU per task, ms', 2),
    ('requests', 'SQS requests per task, backlog', 3),
    ('receives', '  receive', 3),
    ('deletes', '  delete', 3),
    ('publish', 'publish with delay(), tasks/s', 0),
    ('publish_4', '  by 4 threads', 0),
    ('publish_16', '  by 16 threads', 0),
    ('publish_requests', '  SQS requests per task', 3),
    ('batch', 'publish with send_batch(), tasks/s', 0),
    ('batch_requests', '  SQS requests per task', 3),
    ('p50', 'idle latency p50, ms', 1),
    ('p99', 'idle latency p99, ms', 1),
    ('start', 'start of the worker to its first task, s', 2),
    ('server_start', 'start of app/server.py to its first task, s', 2),
    ('main_uss', 'memory of the main process, USS, MB', 1),
    ('main_pss', '  PSS', 1),
    ('child_uss', 'memory of a child, USS, MB', 1),
    ('child_pss', '  PSS', 1),
    ('server_pss', 'memory of app/server.py, PSS, MB', 1),
    ('repeated', 'tasks that ran more than once', 0),
)
#: Rows without a ratio to ours.
PLAIN = ('of_floor', 'repeated')


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


@dataclass(frozen=True)
class Line:
    """A row of the README's table.

    Arguments:
        figure: its key, the same for all contenders.
        shown: a format of the value.
        rtt: the delay in milliseconds at which it was measured.
        most: the highest value is the best.
        contenders: of each column; '' leaves it empty.
    """

    label: str
    figure: str
    shown: str
    rtt: float = 0
    most: bool = False
    contenders: tuple[str, ...] = (OURS, 'default', 'tuned', 'redis')

    def cells(self, found: dict[float, Figures]) -> list[str]:
        """Return the row's cells; bold is a contender that is clearly ahead of ours."""
        figures = found.get(self.rtt, {})
        values = [figures.get(name, {}).get(self.figure) for name in self.contenders]
        mine, cells = values[0], [self.label]
        for value in values:
            text = '' if value is None else self.shown.format(value)
            if value and mine:
                ahead = value / mine if self.most else mine / value
                text = f'**{text}**' if ahead > CLEARLY else text
            cells.append(text)
        return cells


#: Where the other results are, which have commands of their own.
OTHERS = (
    "By themselves: [the dashboard's queries](history.md), [the monitor](monitor.md) and "
    '[workers on one rate limit](fleet.md).'
)
#: How many times as good another contender must be to count as ahead: less is chance.
CLEARLY = 1.05
COLUMNS = ('figure', 'this template', 'stock Celery on SQS', 'stock, tuned', 'Celery on Redis')
#: A producer has nothing that is tuned.
SENDERS = (OURS, 'default', '', 'redis')
LINES = (
    Line('tasks run per second', 'consume', '{:,.0f}', most=True),
    Line('tasks run per second, 10 ms', 'consume', '{:,.0f}', 10, most=True),
    Line('share of the floor', 'of_floor', '{:.0%}', most=True),
    Line(
        'tasks run per second, with results in PostgreSQL, or in Redis',
        'consume',
        '{:,.0f}',
        most=True,
        contenders=('ours-results', '', '', 'redis-results'),
    ),
    Line('CPU per task', 'cpu', '{:.2f} ms'),
    Line('SQS requests per task, receive and delete, 10 ms', 'requests', '{:.2f}', 10),
    Line('sent per second in batches (`send_batch`), 10 ms', 'batch', '{:,.0f}', 10, most=True),
    Line(
        'sent one by one (`delay`), 10 ms', 'publish', '{:,.0f}', 10, most=True, contenders=SENDERS
    ),
    Line(
        'sent one by one by 16 threads, 10 ms',
        'publish_16',
        '{:,.0f}',
        10,
        most=True,
        contenders=SENDERS,
    ),
    Line('from sending to start, idle worker, median', 'p50', '{:.0f} ms'),
    Line('start of the worker to its first task', 'start', '{:.1f} s'),
    Line('start of the whole server to its first task', 'server_start', '{:.1f} s'),
    Line('memory of a child (USS)', 'child_uss', '{:.0f} MB'),
    Line('memory of the main process (USS)', 'main_uss', '{:.0f} MB'),
    Line('memory of the whole server (PSS)', 'server_pss', '{:.0f} MB'),
)
TABLE = re.compile('(?<=<!-- table: make bench -->\n).*?(?=<!-- table end -->)', re.DOTALL)


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
        if measure == 'server':
            for kind in ('start', 'pss'):
                values[f'server_{kind}'] = median(sample[kind] for sample in group)
            continue
        rate = median(sample['rate'] for sample in group)
        values[measure.replace('-', '_')] = rate
        if measure == 'consume':
            values['start'] = median(sample['start'] for sample in group)
            for kind in group[0]['memory']:
                values[kind] = median(sample['memory'][kind] for sample in group)
            values['repeated'] = sum(sample['repeated'] for sample in group)
            if cpu := [sample['cpu'] for sample in group if sample['cpu'] is not None]:
                values['cpu'] = median(cpu)
        if any(sample['requests'] for sample in group):
            operations = OPERATIONS if measure == 'consume' else {f'{measure}_requests': SENDS}
            values |= {key: _per_task(group, names) for key, names in operations.items()}
    if floor := found.get('floor', {}).get('consume'):
        for values in found.values():
            if 'consume' in values:
                values['of_floor'] = values['consume'] / floor
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
    parts.append(OTHERS)
    return '\n\n'.join(parts) + '\n'


def readme(found: dict[float, Figures]) -> str:
    """Return the README's table; rows that were not measured are left out."""
    rows = (line.cells(found) for line in LINES)
    return _table(list(COLUMNS), (row for row in rows if any(row[1:]))) + '\n'


def with_table(page: str, table: str) -> str:
    """Return a page with the table in its place."""
    return TABLE.sub(lambda _: table, page)


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
            mine = None if key in PLAIN else figures.get(OURS, {}).get(key)
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
