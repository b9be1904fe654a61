"""From the values in the files to the metrics of a scrape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

from app.web.process_metrics.values import Series, Value, combine, parse

__all__ = ['Read', 'merged']

#: Kind, process and values of a file.
Read = tuple[str, str, Mapping[str, Value]]


def merged(files: Iterable[Read]) -> list[Metric]:
    """Return the metrics that the files together amount to, by the rules of prometheus_client."""
    found: defaultdict[str, defaultdict[Series, list[Value]]] = defaultdict(
        lambda: defaultdict(list)
    )
    helps: dict[str, str] = {}
    for kind, process, values in files:
        several = found[kind]
        for key, value in values.items():
            series, helps[series.metric] = parse(key)
            if kind in ('gauge_all', 'gauge_liveall'):
                series = series._replace(labels=(*series.labels, ('pid', process)))
            elif kind.endswith('mostrecent') and not value[1]:
                continue  # never set
            several[series].append(value)
    metrics: dict[str, Metric] = {}
    for kind, of_kind in found.items():
        totals = {series: combine(kind, values)[0] for series, values in of_kind.items()}
        type_ = kind.partition('_')[0]
        for series, total in _histograms(totals) if type_ == 'histogram' else totals.items():
            name = series.metric
            if name not in metrics:
                metrics[name] = Metric(name, helps[name], type_)
            metrics[name].add_sample(series.sample, dict(series.labels), total)
    return list(metrics.values())


def _histograms(totals: Mapping[Series, float]) -> Iterator[tuple[Series, float]]:
    """Yield the samples of histograms: the files hold each bucket without those below it."""
    buckets: defaultdict[Series, list[tuple[float, float]]] = defaultdict(list)
    for series, total in totals.items():
        le = dict(series.labels).get('le')
        if le is None:
            yield series, total
        else:
            labels = tuple(label for label in series.labels if label[0] != 'le')
            buckets[series._replace(labels=labels)].append((float(le), total))
    for series, several in buckets.items():
        count = 0.0
        for bound, total in sorted(several):
            count += total
            upper = ('le', floatToGoString(bound))
            yield series._replace(labels=(*series.labels, upper)), count
        yield series._replace(sample=f'{series.metric}_count'), count
