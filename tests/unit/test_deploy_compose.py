"""The profile `observability` of docker-compose.yml runs what deploy/ has for it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from app.config.configuration import Config
from tests.support import dashboard, prometheus

ROOT = prometheus.FOLDER.parents[1]
COMPOSE = (ROOT / 'docker-compose.yml').read_text()
PAGES = [(folder / 'README.md').read_text() for folder in (prometheus.FOLDER, dashboard.FOLDER)]
HEADER = COMPOSE.partition('x-worker')[0]
SERVERS = {'prometheus', 'grafana', 'jaeger'}


@pytest.fixture(scope='module')
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE)['services']


def published(services: dict[str, Any]) -> set[str]:
    """Return the ports on this machine of the profile's services."""
    return {port.split(':')[1] for name in SERVERS for port in services[name]['ports']}


def test_the_profile_is_one_that_no_other_needs(services: dict[str, Any]) -> None:
    assert {n for n, s in services.items() if s.get('profiles') == ['observability']} == SERVERS
    others = [service for name, service in services.items() if name not in SERVERS]
    assert not any(SERVERS & service.get('depends_on', {}).keys() for service in others)
    for page in (*PAGES, HEADER):
        assert 'docker-compose --profile observability up --build\n' in page


def test_every_image_is_of_a_version(services: dict[str, Any]) -> None:
    images = [s['image'] for s in services.values() if 'build' not in s]
    assert len(images) > len(SERVERS)
    assert [image for image in images if not re.search(r':v?\w*\d[\w.-]*$', image)] == []


def test_prometheus_reads_what_is_mounted_and_scrapes_the_worker(services: dict[str, Any]) -> None:
    service = services['prometheus']
    mounted = dict(volume.split(':')[:2] for volume in service['volumes'])
    path = PurePosixPath(mounted['./deploy/prometheus/prometheus.yml'])
    assert f'--config.file={path}' in service['command']
    assert f'--storage.tsdb.path={mounted["metrics"]}' in service['command']
    config = yaml.safe_load((prometheus.FOLDER / 'prometheus.yml').read_text())
    (rules,) = config['rule_files']
    assert mounted[f'./deploy/prometheus/{PurePosixPath(rules).parent}'] == str(
        path.parent / PurePosixPath(rules).parent
    )
    (job,) = config['scrape_configs']
    assert job['job_name'] == Config(service_name='').service_name
    ((target,),) = (group['targets'] for group in job['static_configs'])
    name, _, port = target.partition(':')
    assert any(published.endswith(f':{port}') for published in services[name]['ports'])
    assert '--web.enable-lifecycle' in service['command']
    assert 'curl -X POST http://localhost:9090/-/reload\n' in PAGES[0]


def test_a_variable_of_the_shell_is_all_that_traces_need(services: dict[str, Any]) -> None:
    assert services['worker']['environment']['JAEGER_AGENT_HOST'] == '${JAEGER_AGENT_HOST:-}'
    assert not Config(jaeger_agent_host='').is_traced
    port = Config().jaeger_agent_port
    for page in (HEADER, PAGES[1]):
        (host,) = re.findall(r'export JAEGER_AGENT_HOST=(\w+)\n', page)
        assert f'127.0.0.1:{port}:{port}/udp' in services[host]['ports']


def test_the_pages_name_the_ports_of_this_machine(services: dict[str, Any]) -> None:
    known = published(services)
    for page in (*PAGES, HEADER.partition('--profile ratelimit')[2]):
        named = set(re.findall(r'http://localhost:(\d+)', page))
        assert named
        assert named <= known


def test_nobody_reaches_grafana_but_from_this_machine_and_then_only_to_look(
    services: dict[str, Any],
) -> None:
    environment = services['grafana']['environment']
    assert environment['GF_AUTH_ANONYMOUS_ORG_ROLE'] == 'Viewer'
    assert all(
        port.startswith('127.0.0.1:') for name in SERVERS for port in services[name]['ports']
    )


def test_where_tests_run_prometheus_is_installed() -> None:
    job = yaml.safe_load((ROOT / '.gitlab-ci.yml').read_text())['test']
    command = 'apt-get install --yes --no-install-recommends prometheus'
    assert command in job['script'][0]
    assert command in (ROOT / '.ci' / 'run').read_text()
