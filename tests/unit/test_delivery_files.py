"""The files that build, start and check the worker agree with each other and with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config.configuration import Config
from be_queue.environment import known_settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / 'Dockerfile').read_text()
#: `AS name` and what follows up to the next stage, in the order of the file.
STAGES = dict(re.findall(r'^FROM \S+ AS (\w+)\n((?:(?!FROM ).*\n)*)', DOCKERFILE, re.MULTILINE))
#: Variables of the example file whose value there is not the default.
EXAMPLES = {'USERNAME', 'RESULT_DB_HOST'}


@pytest.fixture(scope='module')
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / 'docker-compose.yml').read_text())


@pytest.fixture(scope='module')
def gitlab() -> dict[str, Any]:
    return yaml.safe_load((ROOT / '.gitlab-ci.yml').read_text())


@pytest.fixture(scope='module')
def example() -> dict[str, str]:
    text = (ROOT / '.env.example').read_text()
    return dict(re.findall(r'^#([A-Z_]+)=(.*)$', text, re.MULTILINE))


def test_every_python_version_is_the_same_everywhere(gitlab):
    (matrix,) = gitlab['test']['parallel']['matrix']
    tested = matrix['PYTHON_MINOR']
    by_number = sorted(tested, key=lambda version: [int(part) for part in version.split('.')])
    assert tested == by_number
    assert gitlab['variables']['PYTHON_MINOR'] == tested[-1]
    assert re.search(r'^ARG BASE=python:([\d.]+)-slim$', DOCKERFILE, re.MULTILINE)[1] == tested[-1]
    assert f'requires-python = ">={tested[0]},' in (ROOT / 'pyproject.toml').read_text()
    assert f'supported=({" ".join(tested)})' in (ROOT / '.ci' / 'run').read_text()


def test_jobs_call_make_targets_that_exist(gitlab):
    makefile = (ROOT / 'Makefile').read_text()
    lines = [line for job in ('lint', 'test') for line in gitlab[job]['script']]
    called = re.findall(r'make (\w+)', '\n'.join(lines))
    assert called == ['lint', 'test']
    assert all(re.search(f'^{target}:', makefile, re.MULTILINE) for target in called)


def test_every_stage_of_the_pipeline_has_a_job(gitlab):
    stages = [job['stage'] for job in gitlab.values() if isinstance(job, dict) and 'stage' in job]
    assert stages == gitlab['stages']


def test_the_image_copies_what_exists():
    copied = re.findall(r'^COPY (?!--from)(?:--\S+ )*(\S+) \S+$', DOCKERFILE, re.MULTILINE)
    assert {'be_queue', 'app', 'examples', 'pip-requirements.txt'} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_the_image_that_a_plain_build_makes_is_the_worker_s():
    name, stage = list(STAGES.items())[-1]
    assert name == 'worker'
    assert 'dev-requirements' not in stage
    assert '--from=dev' not in stage
    assert re.search(r'^USER [1-9]\d*:[1-9]\d*$', stage, re.MULTILINE)
    assert re.search(r'^CMD \["python", "app/server.py"\]$', stage, re.MULTILINE)


def test_compose_builds_stages_that_exist(compose):
    services = compose['services'].values()
    targets = {service['build']['target'] for service in services if 'build' in service}
    assert targets == {'worker', 'dev'}
    assert targets <= STAGES.keys()


def test_compose_listens_on_loopback_only(compose):
    ports = [port for service in compose['services'].values() for port in service.get('ports', ())]
    assert ports
    assert [port for port in ports if not port.startswith('127.0.0.1:')] == []


def test_compose_waits_for_services_that_have_a_health_check(compose):
    for service in compose['services'].values():
        for name, wanted in service.get('depends_on', {}).items():
            assert wanted == {'condition': 'service_healthy'}
            image = compose['services'][name].get('build', {}).get('target', '')
            assert 'healthcheck' in compose['services'][name] or 'HEALTHCHECK' in STAGES[image]


def test_compose_sets_variables_that_the_app_reads(compose):
    known = {name.upper() for name in Config.model_fields}
    known |= {'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'}
    assert compose['services']['worker']['environment'].keys() <= known


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
        if value not in (None, ''):
            assert getattr(shown, name) == value, name
