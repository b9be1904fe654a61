"""Small charts of the last hour, a bar for each minute, as paths of an SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from be_queue.worker.history import Minute
from be_queue.worker.web.dashboard.filters import duration, number, percent

__all__ = ['HEIGHT', 'STEP', 'Chart', 'charts_of']

#: The height of the chart, and the step from one bar to the next, in units of the SVG.
HEIGHT, STEP = 40, 4

Values = Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """A chart of bars.

    Arguments:
        title, total: what it shows, and its value of the whole hour.
        top: the value of the highest bar.
        paths: the bars by kind, one kind on top of the other.
        labels: each minute with its value.
    """

    title: str
    total: str
    top: str
    paths: dict[str, str]
    labels: list[str]


def charts_of(minutes: Sequence[Minute]) -> list[Chart]:
    """Return the charts of `History.last_hour`."""
    ended = [each.succeeded + each.failed for each in minutes]
    succeeded, failed = [each.succeeded for each in minutes], [each.failed for each in minutes]
    rates = [part / all_ if all_ else None for part, all_ in zip(failed, ended, strict=True)]
    waited, ran = [each.waited for each in minutes], [each.ran for each in minutes]

    times = [f'{each.start:%H:%M} UTC' for each in minutes]
    return [
        _chart(times, 'Tasks ended', number, sum(ended), succeeded=succeeded, failed=failed),
        _chart(times, 'Failure rate', percent, _mean(rates, ended), failed=rates),
        _chart(times, 'Mean waiting time', duration, _mean(waited, ended), waited=waited),
        _chart(times, 'Mean running time', duration, _mean(ran, ended), ran=ran),
    ]


def _mean(values: Values, weights: Sequence[int]) -> float | None:
    known = [(value, n) for value, n in zip(values, weights, strict=True) if value is not None]
    total = sum(n for _, n in known)
    return sum(value * n for value, n in known) / total if total else None


def _chart(
    times: Sequence[str],
    title: str,
    text: Callable[[float | None], str],
    total: float | None,
    **bars: Values,
) -> Chart:
    sums = [sum(value or 0 for value in values) for values in zip(*bars.values(), strict=True)]
    top = max(sums, default=0)
    tops, paths = [float(HEIGHT)] * len(sums), {}
    for kind, values in bars.items():
        path = ''
        for n, value in enumerate(values):
            if value:
                height = max(1, HEIGHT * value / top)
                path += f'M{n * STEP + STEP / 2} {tops[n]:.1f}v-{height:.1f}'
                tops[n] -= height
        paths[kind] = path
    labels = [f'{time}: {text(value)}' for time, value in zip(times, sums, strict=True)]
    return Chart(title, text(total), text(top), paths, labels)
