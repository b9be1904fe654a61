"""From samples to the figures of a table: medians over the rounds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

__all__ = ['FIGURES', 'Figure', 'Figures', 'figures']

#: Value by contender, then by the figure's key.
Figures = dict[str, dict[str, float]]

RECEIVE_AND_DELETE = ('ReceiveMessage', 'DeleteMessage', 'DeleteMessageBatch')
OPERATIONS = {
    'receives': ('ReceiveMessage',),
    'deletes': ('DeleteMessage', 'DeleteMessageBatch'),
    'extensions': ('ChangeMessageVisibility', 'ChangeMessageVisibilityBatch'),
}


@dataclass(frozen=True)
class Figure:
    """A row of a table.

    Arguments:
        key: in `Figures`.
        label: with its unit.
        digits: after the point, of values below 100.
    """

    key: str
    label: str
    digits: int = 0

    def text(self, value: float) -> str:
        """Return a value as it is shown."""
        return f'{value:,.{0 if value >= 100 else self.digits}f}'


FIGURES = (
    Figure('consume', 'consume, tasks/s', 1),
    Figure('ten_queues', 'consume, one of ten queues, tasks/s', 1),
    Figure('stall', 'longest time between tasks, ms'),
    Figure('cpu', 'CPU per task, ms', 2),
    Figure('memory', 'peak memory, main process, MiB'),
    Figure('requests', 'SQS requests per task, backlog', 3),
    Figure('receives', '  receive', 3),
    Figure('deletes', '  delete', 3),
    Figure('extensions', '  extend visibility', 3),
    Figure('publish', 'publish with delay(), tasks/s'),
    Figure('publish_requests', '  SQS requests per task', 3),
    Figure('batch', 'publish with send_batch(), tasks/s'),
    Figure('batch_requests', '  SQS requests per task', 3),
    Figure('p50', 'idle latency p50, ms', 1),
    Figure('p99', 'idle latency p99, ms', 1),
    Figure('repeated', 'tasks that ran more than once'),
    Figure('with_metrics', 'consume with signals and metrics, of without', 3),
    Figure('with_metrics_cpu', 'CPU per task with signals and metrics, of without', 3),
)


def figures(samples: Iterable[dict[str, Any]], rtt: float) -> Figures:
    """Return what the samples of one delay amount to; a figure without samples is left out."""
    grouped: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        if sample['rtt'] == rtt:
            grouped[sample['contender'], sample['measure']].append(sample)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (contender, measure), group in grouped.items():
        found[contender] |= _BY_MEASURE[measure](group)
    return dict(found)


def _consume(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    cpu = [sample['cpu'] for sample in group if sample['cpu'] is not None]
    values: dict[str, float] = {
        'consume': median(sample['rate'] for sample in group),
        'stall': max(sample['stall'] for sample in group) * 1000,
        'memory': max(sample['memory'] for sample in group),
        'repeated': sum(sample['repeated'] for sample in group),
    }
    if cpu:
        values['cpu'] = median(cpu)
    return values | _requests(group)


def _requests(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    if not any(sample['requests'] for sample in group):
        return {}
    values = {key: _per_task(group, names) for key, names in OPERATIONS.items()}
    return {'requests': _per_task(group, RECEIVE_AND_DELETE)} | values


def _publish(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    key = group[0]['measure']
    values = {key: median(sample['rate'] for sample in group)}
    if any(sample['requests'] for sample in group):
        values[f'{key}_requests'] = _per_task(group, ('SendMessage', 'SendMessageBatch'))
    return values


def _ten_queues(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {'ten_queues': median(sample['rate'] for sample in group)}


def _latency(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    seconds = [value for sample in group for value in sample['seconds']]
    if len(seconds) < 2:
        return {}
    percentiles = quantiles(seconds, n=100, method='inclusive')
    return {'p50': percentiles[49] * 1000, 'p99': percentiles[98] * 1000}


def _overhead(group: Sequence[dict[str, Any]]) -> dict[str, float]:
    pairs = [pair for sample in group for pair in sample['pairs']]
    cpu = [pair['on_cpu'] / pair['off_cpu'] for pair in pairs if pair['on_cpu'] and pair['off_cpu']]
    values = {'with_metrics': median(pair['on'] / pair['off'] for pair in pairs)}
    return values | ({'with_metrics_cpu': median(cpu)} if cpu else {})


def _per_task(group: Sequence[dict[str, Any]], operations: Sequence[str]) -> float:
    requests: Counter[str] = Counter()
    for sample in group:
        requests.update(sample['requests'])
    tasks: int = sum(sample['tasks'] for sample in group)
    return sum(requests[name] for name in operations) / tasks


_BY_MEASURE = {
    'consume': _consume,
    'requests': _requests,
    'ten-queues': _ten_queues,
    'publish': _publish,
    'batch': _publish,
    'latency': _latency,
    'overhead': _overhead,
}
