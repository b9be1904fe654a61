"""The rules name metrics that exist, and say what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support import promql
from tests.support.metrics_page import documented
from tests.support.prometheus import FOLDER

PAGE = (FOLDER / 'README.md').read_text()
RULES = [
    (path, rule)
    for path in sorted((FOLDER / 'rules').iterdir())
    for group in yaml.safe_load(path.read_text())['groups']
    for rule in group['rules']
]
#: Labels that Prometheus adds to what it scrapes.
SCRAPED = {'job', 'instance'}
#: Labels whose values are the user's own.
OWN = {'name', 'queue', 'job', 'instance'}
each_rule = pytest.mark.parametrize(
    ('path', 'rule'), RULES, ids=lambda part: part['alert'] if isinstance(part, dict) else ''
)


@each_rule
def test_a_rule_names_metrics_and_labels_that_exist(path: Any, rule: dict[str, Any]) -> None:
    known = documented()
    named = promql.selectors(rule['expr'])
    assert named
    for selector in named:
        assert selector.metric in known
        metric = known[selector.metric]
        for label, values in selector.matchers:
            assert label in metric.labels | SCRAPED
            assert label in OWN or [value for value in values if not metric.has(value)] == []
    labels = {label for selector in named for label in known[selector.metric].labels}
    assert promql.grouped(rule['expr']) <= labels | SCRAPED


@each_rule
def test_an_alert_says_what_it_means_and_what_to_do(path: Any, rule: dict[str, Any]) -> None:
    assert rule['labels'].keys() == {'severity'}
    assert rule['labels']['severity'] in {'critical', 'warning'}
    assert rule['annotations'].keys() == {'summary', 'description', 'runbook'}
    assert f'\n| {rule["alert"]} | {rule["labels"]["severity"]} | ' in PAGE

    used = set(re.findall(r'\$labels\.(\w+)', str(rule['annotations'])))
    aggregated = re.match(r'[(\s]*(?:max|min|sum) by \(([^)]*)\)', rule['expr'])
    if aggregated:
        assert used <= {label.strip() for label in aggregated[1].split(',')}
    else:
        (first, *_) = promql.selectors(rule['expr'])
        own = set() if rule['expr'].startswith('absent') else documented()[first.metric].labels
        assert used <= own | SCRAPED


def test_every_alert_has_a_name_of_its_own_and_is_tested_to_fire_and_to_end() -> None:
    names = [rule['alert'] for _, rule in RULES]
    assert len(set(names)) == len(names)
    fired, ended = set(), set()
    for path in (FOLDER / 'tests').iterdir():
        for test in yaml.safe_load(path.read_text())['tests']:
            seen: set[str] = set()
            for expected in test['promql_expr_test']:
                found = re.findall(r'alertname="(\w+)"', str(expected['exp_samples']))
                ended |= seen - set(found)
                seen |= set(found)
            fired |= seen
    assert fired == ended == set(names)
