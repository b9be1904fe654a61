"""Alerts and dashboard name metrics that exist, and are where Compose mounts them."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from tests.support.dashboard import FOLDER, PREFIX, dashboard, expressions
from tests.support.process import ROOT

PROMETHEUS = ROOT / 'deploy' / 'prometheus'
DASHBOARD = dashboard()
PANELS = [panel for panel in DASHBOARD['panels'] if panel['type'] != 'row']
RULES = [
    rule
    for path in sorted((PROMETHEUS / 'rules').iterdir())
    for group in yaml.safe_load(path.read_text())['groups']
    for rule in group['rules']
]
#: A metric's name without the prefix, and its matchers: label, operator and value.
SELECTOR = re.compile(rf'\b{PREFIX}(\w+)\s*(?:\{{([^}}]*)\}})?')
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r'\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)')
#: Labels that Prometheus adds to what it scrapes.
SCRAPED = {'job', 'instance'}
#: Labels whose values are the user's own.
OWN = {'name', 'queue', *SCRAPED}


@pytest.fixture(scope='module')
def documented() -> dict[str, tuple[set[str], str]]:
    """Labels and help, which lists the values of labels that are few, of docs/metrics.md."""
    page = (ROOT / 'docs' / 'metrics.md').read_text()
    row = re.compile(r'^\| `\{prefix\}_(\w+)` \| (\w+) \| (.*?) \| (.*) \|$', re.MULTILINE)
    found = {}
    for name, kind, labels, what in row.findall(page):
        own = set(re.findall(r'`(\w+)`', labels))
        if kind == 'histogram':
            found[f'{name}_bucket'] = own | {'le'}, what
            found[f'{name}_sum'] = found[f'{name}_count'] = own, what
        else:
            found[name] = own, what
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels by which an expression groups or joins."""
    return {label.strip() for labels in GROUPED.findall(expression) for label in labels.split(',')}


@pytest.mark.parametrize('expression', [*expressions(), *(rule['expr'] for rule in RULES)], ids=str)
def test_an_expression_names_metrics_labels_and_values_that_exist(
    expression: str, documented: dict[str, tuple[set[str], str]]
) -> None:
    labels = set(SCRAPED)
    for metric, matchers in SELECTOR.findall(expression):
        own, what = documented[metric]
        labels |= own
        for label, operator, value in MATCHER.findall(matchers):
            assert label in own | SCRAPED
            for one in value.split('|') if '~' in operator else [value]:
                is_free = label in OWN or one.startswith('$')
                assert is_free or re.search(rf'\b{re.escape(one)}\b', what), (label, one)
    assert grouped(expression) <= labels | {''}


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule['alert'])
def test_an_alert_says_what_it_means_and_what_to_do(
    rule: dict[str, Any], documented: dict[str, tuple[set[str], str]]
) -> None:
    assert rule['annotations'].keys() == {'summary', 'description', 'runbook'}
    if aggregated := re.match(r'[(\s]*(?:max|min|sum) by \(([^)]*)\)', rule['expr']):
        labels = {label.strip() for label in aggregated[1].split(',')}
    else:
        labels = documented[SELECTOR.search(rule['expr'])[1]][0] | SCRAPED
    assert set(re.findall(r'\$labels\.(\w+)', str(rule['annotations']))) <= labels


def test_every_alert_has_a_name_of_its_own_and_is_tested_to_fire_and_to_end() -> None:
    names = [rule['alert'] for rule in RULES]
    assert len(set(names)) == len(names)
    fired, ended = set(), set()
    for path in (PROMETHEUS / 'tests').iterdir():
        for test in yaml.safe_load(path.read_text())['tests']:
            seen: set[str] = set()
            for expected in test['promql_expr_test']:
                found = re.findall(r'alertname="(\w+)"', str(expected['exp_samples']))
                ended |= seen - set(found)
                seen |= set(found)
            fired |= seen
    assert fired == ended == set(names)


@pytest.mark.parametrize('panel', PANELS, ids=lambda panel: panel['title'])
def test_a_panel_shows_rates_and_quantiles_with_a_legend(panel: dict[str, Any]) -> None:
    assert panel['description'].endswith('.')
    for target in panel['targets']:
        expression = target['expr']
        assert target['legendFormat']
        assert set(re.findall(r'\{\{(\w+)\}\}', target['legendFormat'])) <= grouped(expression)
        counters = re.findall(r'(\w*)\(?\b\w+(?:_total|_sum|_count|_bucket)\{', expression)
        assert set(counters) <= {'rate', 'increase'}
        assert ('_bucket{' in expression) == ('histogram_quantile(' in expression)
        assert '_bucket{' not in expression or re.search(r'sum by \(le\b', expression)


def test_compose_mounts_what_grafana_is_told_to_read() -> None:
    services = yaml.safe_load((ROOT / 'docker-compose.yml').read_text())['services']
    mounted = dict(volume.split(':')[:2] for volume in services['grafana']['volumes'])
    assert mounted['./deploy/grafana/provisioning'] == '/etc/grafana/provisioning'
    provisioning = FOLDER / 'provisioning'
    text = (provisioning / 'dashboards/dashboards.yml').read_text()
    (provider,) = yaml.safe_load(text)['providers']
    folder = PurePosixPath(provider['options']['path'])
    assert mounted['./deploy/grafana/dashboards'] == str(folder)
    environment = services['grafana']['environment']
    home = PurePosixPath(environment['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'])
    assert home.parent == folder
    assert (FOLDER / 'dashboards' / home.name).exists()

    text = (provisioning / 'datasources/datasources.yml').read_text()
    sources = {source['uid']: source for source in yaml.safe_load(text)['datasources']}
    for source in sources.values():
        name, port = re.fullmatch(r'http://(\w+):(\d+)', source['url']).groups()
        assert any(published.endswith(f':{port}') for published in services[name]['ports'])
    variables = {variable['name']: variable for variable in DASHBOARD['templating']['list']}
    assert sources[variables['datasource']['current']['value']]['type'] == 'prometheus'
    used = set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD)))
    assert used == {'${datasource}', '-- Grafana --', DASHBOARD['uid']}
