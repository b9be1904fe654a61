"""The dashboard shows metrics that exist, from the data source that is provisioned."""

from __future__ import annotations

import json
import re
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
def test_a_panel_is_explained_and_its_legends_use_labels_that_its_series_have(
    panel: dict[str, Any],
) -> None:
    assert panel['fieldConfig']['defaults']['unit'] in UNITS
    assert panel['description'].endswith('.')
    for target in panel['targets']:
        assert target['legendFormat']
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


def test_panels_do_not_overlap() -> None:
    taken = [
        (x, y)
        for place in (panel['gridPos'] for panel in DASHBOARD['panels'])
        for x in range(place['x'], place['x'] + place['w'])
        for y in range(place['y'], place['y'] + place['h'])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < WIDTH


def test_the_rows_are_those_that_the_page_lists() -> None:
    page = (FOLDER / 'README.md').read_text()
    rows = [panel['title'] for panel in DASHBOARD['panels'] if panel['type'] == 'row']
    assert re.findall(r'^\| ([A-Z]\w+(?: \w+)?) \|', page, re.MULTILINE) == rows


def test_the_data_source_is_a_variable_whose_value_is_provisioned(sources: dict[str, Any]) -> None:
    variables = {variable['name']: variable for variable in DASHBOARD['templating']['list']}
    chosen = variables['datasource']
    assert chosen['query'] == sources[chosen['current']['value']]['type'] == 'prometheus'
    used = set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD)))
    assert used == {'${datasource}', '-- Grafana --', DASHBOARD['uid']}
    named = set(re.findall(r'\$\{?(\w+)', json.dumps(DASHBOARD))) - {'__rate_interval', '__all'}
    assert named == set(variables)


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
