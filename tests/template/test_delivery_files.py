"""The files that build, start and check the worker agree with each other and with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from app.config.configuration import Config
from app.config.queues import QUEUES
from be_queue.environment import known_settings
from be_queue.worker.ratelimit import Fault, LimiterError
from be_queue.worker.ratelimit import service as protocol

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / 'Dockerfile').read_text()
#: `AS name` and what follows up to the next stage, in the order of the file.
STAGES = dict(re.findall(r'^FROM \S+ AS (\w+)\n((?:(?!FROM ).*\n)*)', DOCKERFILE, re.MULTILINE))
#: Variables of the example file whose value there is not the default.
EXAMPLES = {
    'LIVENESS_FILE',
    'USERNAME',
    'RESULT_DB_HOST',
    'RATELIMIT_HOST',
    'RATELIMIT_DOMAIN',
    'RATELIMIT_REDIS_URL',
    'TRACING_EXPORTER',
}
RATELIMIT = ROOT / 'deploy' / 'ratelimit'
RATELIMIT_PAGE = (RATELIMIT / 'README.md').read_text()


@pytest.fixture(scope='module')
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / 'docker-compose.yml').read_text())


@pytest.fixture(scope='module')
def ratelimits() -> dict[str, Any]:
    """The only configuration: the service reads every file of the folder."""
    (path,) = (RATELIMIT / 'config').iterdir()
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope='module')
def example() -> dict[str, str]:
    text = (ROOT / '.env.example').read_text()
    return dict(re.findall(r'^#([A-Z0-9_]+)=(.*)$', text, re.MULTILINE))


def test_the_image_copies_what_exists():
    lines = re.findall(r'^COPY (?!--from)(?:--\S+ )*(.+) \S+$', DOCKERFILE, re.MULTILINE)
    copied = ' '.join(lines).split()
    assert {'be-queue/src/be_queue', 'app', 'examples', 'pip-requirements.txt'} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_the_image_that_a_plain_build_makes_is_the_worker_s():
    name, stage = list(STAGES.items())[-1]
    assert name == 'worker'
    assert 'dev-requirements' not in stage
    assert '--from=dev' not in stage
    assert re.search(r'^USER [1-9]\d*:[1-9]\d*$', stage, re.MULTILINE)
    assert re.search(r'^CMD \["python", "app/server.py"\]$', stage, re.MULTILINE)


def test_compose_listens_on_loopback_only_and_gives_each_port_to_one_service(compose):
    published = [p for service in compose['services'].values() for p in service.get('ports', ())]
    ports = [re.sub(r'\$\{\w+:-(\d+)\}', r'\1', port.rpartition(':')[0]) for port in published]
    assert ports
    assert [port for port in ports if not port.startswith('127.0.0.1:')] == []
    assert len(set(ports)) == len(ports)


def test_compose_mounts_what_prometheus_reads_and_runs_what_it_scrapes(compose):
    service = compose['services']['prometheus']
    mounted = dict(volume.split(':')[:2] for volume in service['volumes'])
    path = PurePosixPath(mounted['./deploy/prometheus/prometheus.yml'])
    assert f'--config.file={path}' in service['command']
    config = yaml.safe_load((ROOT / 'deploy' / 'prometheus' / 'prometheus.yml').read_text())
    (rules,) = (PurePosixPath(rules).parent for rules in config['rule_files'])
    assert mounted[f'./deploy/prometheus/{rules}'] == str(path.parent / rules)
    (job,) = config['scrape_configs']
    assert job['job_name'] == Config.model_fields['service_name'].default
    ((target,),) = (group['targets'] for group in job['static_configs'])
    name, _, port = target.partition(':')
    assert any(published.endswith(f':{port}') for published in compose['services'][name]['ports'])


def test_compose_sets_variables_that_the_app_reads(compose):
    known = {name.upper() for name in Config.model_fields}
    known |= {'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'}
    assert compose['services']['worker']['environment'].keys() <= known


def test_the_rate_limit_service_has_a_limit_for_each_name_of_the_mapping(ratelimits):
    assert ratelimits.keys() == {'domain', 'descriptors'}
    names = set()
    for descriptor in ratelimits['descriptors']:
        assert descriptor.keys() == {'key', 'value', 'rate_limit'}
        assert descriptor['key'] == protocol.KEY
        names.add(descriptor['value'])
        limit = descriptor['rate_limit']
        assert limit.keys() == {'unit', 'requests_per_unit'}
        assert limit['unit'].upper() in protocol.UNITS
        assert type(limit['requests_per_unit']) is int
        assert limit['requests_per_unit'] > 0
    assert names == {queue.ratelimit_name for queue in QUEUES if queue.ratelimit_name}


def test_the_rate_limit_service_reads_the_folder_that_compose_mounts(compose):
    service = compose['services']['ratelimit']
    environment = service['environment']
    parts = ('RUNTIME_ROOT', 'RUNTIME_SUBDIRECTORY', 'RUNTIME_APPDIRECTORY')
    folder = PurePosixPath(*(environment[part] for part in parts))
    assert service['volumes'] == [f'./deploy/ratelimit/config:{folder}:ro']
    assert f'mounted at `{folder}`' in RATELIMIT_PAGE


def test_the_question_that_the_rate_limit_page_asks_is_a_worker_s(ratelimits):
    asked = json.loads(re.search(r"-d '(.+)'$", RATELIMIT_PAGE, re.MULTILINE)[1])
    (first, *_) = ratelimits['descriptors']
    assert asked == protocol.question(ratelimits['domain'], first['value'], 1)


def test_the_answers_that_the_rate_limit_page_shows_are_understood(ratelimits):
    granted, refused, unknown = re.findall(r'^```json\n(.+)\n```$', RATELIMIT_PAGE, re.MULTILINE)
    amount = ratelimits['descriptors'][0]['rate_limit']['requests_per_unit']
    reply = protocol.read(200, granted.encode())
    assert (reply.granted, reply.limit, reply.remaining) == (True, amount, amount - 1)
    reply = protocol.read(429, refused.encode())
    assert (reply.granted, reply.limit, reply.remaining) == (False, amount, 0)
    with pytest.raises(LimiterError) as error:
        protocol.read(200, unknown.encode())
    assert error.value.fault is Fault.UNKNOWN_NAME


def test_no_image_gets_what_git_ignores():
    ignored = [
        line.removeprefix('**/') for line in (ROOT / '.dockerignore').read_text().split('\n')
    ]
    assert [line for line in (ROOT / '.gitignore').read_text().split() if line not in ignored] == []


def test_the_example_file_names_every_variable_of_the_app(example):
    ours = {name.upper() for name in Config.model_fields}
    assert ours - example.keys() == set(), 'not in .env.example'
    settings = {f'CELERY_{name.upper()}' for name in known_settings()}
    assert example.keys() - ours - settings == set(), 'not read by the app'


def test_the_example_file_shows_the_defaults(example, monkeypatch):
    for name in example:
        monkeypatch.delenv(name, raising=False)
    default = Config()
    for name in example.keys() - EXAMPLES:
        monkeypatch.setenv(name, example[name])
    shown = Config()

    derived = ('host', 'prefix', 'sqs_url')
    assert [getattr(shown, name) for name in derived] == [
        getattr(default, name) for name in derived
    ]
    for name, value in default.model_dump().items():
        if value not in (None, '', {}):
            assert getattr(shown, name) == value, name
