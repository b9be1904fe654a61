"""The dashboard shows metrics that exist, from the data source that is provisioned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from tests.support import promql
from tests.support.dashboard import FOLDER, dashboard, expressions
from tests.support.metrics_page import documented

ROOT = FOLDER.parents[1]
DASHBOARD = dashboard()
PANELS = [panel for panel in DASHBOARD['panels'] if panel['type'] != 'row']
ROWS = [panel for panel in DASHBOARD['panels'] if panel['type'] == 'row']
#: Units as Grafana calls them: seconds, a number, a share of 1, operations and requests a second.
UNITS = {'s', 'short', 'percentunit', 'ops', 'reqps'}
#: Labels that Prometheus adds to what it scrapes.
SCRAPED = {'job', 'instance'}
#: Columns of Grafana's grid.
WIDTH = 24
each_panel = pytest.mark.parametrize('panel', PANELS, ids=lambda panel: panel['title'])


@pytest.fixture(scope='module')
def sources() -> dict[str, Any]:
    text = (FOLDER / 'provisioning' / 'datasources' / 'datasources.yml').read_text()
    return {source['uid']: source for source in yaml.safe_load(text)['datasources']}


@pytest.fixture(scope='module')
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / 'docker-compose.yml').read_text())['services']


def all_labels(expression: str) -> set[str]:
    known = documented()
    own = {
        label
        for selector in promql.selectors(expression)
        for label in known[selector.metric].labels
    }
    return own | SCRAPED


@pytest.mark.parametrize('expression', expressions(), ids=str)
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    known = documented()
    for selector in promql.selectors(expression):
        assert selector.metric in known
        metric = known[selector.metric]
        for label, values in selector.matchers:
            assert label in metric.labels | SCRAPED
            chosen = [value for value in values if not value.startswith('$')]
            assert [value for value in chosen if not metric.has(value)] == []
    assert promql.grouped(expression) <= all_labels(expression)


@each_panel
def test_a_legend_uses_labels_that_its_series_have(panel: dict[str, Any]) -> None:
    for target in panel['targets']:
        used = set(re.findall(r'\{\{(\w+)\}\}', target['legendFormat']))
        assert used <= promql.grouped(target['expr'])


@each_panel
def test_a_counter_is_shown_by_its_rate_and_a_histogram_by_its_quantiles(
    panel: dict[str, Any],
) -> None:
    for target in panel['targets']:
        counted = re.findall(r'(\w+)\(\w+(?:_total|_sum|_count|_bucket)\{', target['expr'])
        plain = re.findall(r'\w+(?:_total|_sum|_count|_bucket)\{', target['expr'])
        assert len(counted) == len(plain)
        assert set(counted) <= {'rate', 'increase'}
        assert ('_bucket{' in target['expr']) == ('histogram_quantile(' in target['expr'])
        if '_bucket{' in target['expr']:
            assert re.search(r'sum by \(le\b', target['expr'])


@each_panel
def test_a_panel_has_a_unit_a_legend_and_a_description(panel: dict[str, Any]) -> None:
    assert panel['fieldConfig']['defaults']['unit'] in UNITS
    assert panel['description'].endswith('.')
    assert all(target['legendFormat'] for target in panel['targets'])


@each_panel
def test_a_panel_has_the_unit_of_everything_in_it(panel: dict[str, Any]) -> None:
    unit = panel['fieldConfig']['defaults']['unit']
    assert [t['expr'] for t in panel['targets'] if unit not in units(t['expr'])] == []


def units(expression: str) -> set[str]:
    """Return the units that an expression may be shown in."""
    if 'histogram_quantile(' in expression or re.search(
        r'_seconds(?:_since_receive)?\{', expression
    ):
        return {'s'}
    if 'throttled_seconds_total' in expression:
        return {'percentunit'}
    if ' / ' in expression:
        return {'percentunit', 'short'}
    return {'ops', 'reqps'} if 'rate(' in expression else {'short'}


def test_the_age_of_messages_is_the_one_that_its_alert_goes_by() -> None:
    rules = yaml.safe_load((ROOT / 'deploy/prometheus/rules/queues.yml').read_text())['groups'][0]
    (alert,) = (rule for rule in rules['rules'] if rule['alert'] == 'WorkerQueueOld')
    age = plain(alert['expr'].partition('>')[0])
    shown = [plain(e) for e in expressions() if 'oldest_message_age' in e]
    assert len(shown) == 2
    assert [expression for expression in shown if age not in expression] == []


def plain(expression: str) -> str:
    """Return an expression without what a panel's variables choose, and without spaces."""
    return re.sub(r'\{[^}]*\}|\s', '', expression)


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [panel['id'] for panel in DASHBOARD['panels']]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD['panels']:
        cells = set(_cells(panel['gridPos']))
        assert cells
        assert not cells & taken, panel['title']
        assert panel['gridPos']['x'] + panel['gridPos']['w'] <= WIDTH
        taken |= cells
    # Nor is there a hole.
    height = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * height
    rows = [row['gridPos']['y'] for row in ROWS]
    assert rows == sorted(rows)
    assert len({panel['title'] for panel in PANELS}) == len(PANELS)


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place['x'], place['x'] + place['w']):
        for y in range(place['y'], place['y'] + place['h']):
            yield x, y


def test_the_rows_are_those_that_the_page_lists() -> None:
    assert [row['title'] for row in ROWS] == [
        'Overview',
        'Queues',
        'Tasks',
        'Transport',
        'Rate limits',
    ]
    page = (FOLDER / 'README.md').read_text()
    assert re.findall(r'^\| ([A-Z]\w+(?: \w+)?) \|', page, re.MULTILINE) == [
        row['title'] for row in ROWS
    ]


def test_the_data_source_is_a_variable_whose_value_is_provisioned(sources: dict[str, Any]) -> None:
    variables = {variable['name']: variable for variable in DASHBOARD['templating']['list']}
    chosen = variables['datasource']
    assert chosen['query'] == sources[chosen['current']['value']]['type'] == 'prometheus'
    used = set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD)))
    assert used == {'${datasource}', '-- Grafana --', DASHBOARD['uid']}
    named = set(re.findall(r'\$\{?(\w+)', json.dumps(DASHBOARD))) - {'__rate_interval', '__all'}
    assert named == set(variables)


def test_a_rate_covers_several_scrapes(sources: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / 'deploy' / 'prometheus' / 'prometheus.yml').read_text())
    scraped = config['global']['scrape_interval']
    assert sources['prometheus']['jsonData']['timeInterval'] == scraped


def test_compose_mounts_what_grafana_is_told_to_read(
    compose: dict[str, Any], sources: dict[str, Any]
) -> None:
    grafana = compose['grafana']
    mounted = dict(volume.split(':')[:2] for volume in grafana['volumes'])
    assert mounted['./deploy/grafana/provisioning'] == '/etc/grafana/provisioning'
    text = (FOLDER / 'provisioning' / 'dashboards' / 'dashboards.yml').read_text()
    (provider,) = yaml.safe_load(text)['providers']
    folder = PurePosixPath(provider['options']['path'])
    assert mounted['./deploy/grafana/dashboards'] == str(folder)
    home = PurePosixPath(grafana['environment']['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'])
    assert home.parent == folder
    assert (FOLDER / 'dashboards' / home.name).exists()
    for source in sources.values():
        name, port = re.fullmatch(r'http://(\w+):(\d+)', source['url']).groups()
        assert any(published.endswith(f':{port}') for published in compose[name]['ports'])
