"""deploy/kubernetes, as kubectl renders it, agrees with the image, the code and the alerts."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from template.conftest import ROOT
from tests.support.process import Program, running

FOLDER = ROOT / 'deploy' / 'kubernetes'
RULES = ROOT / 'deploy' / 'prometheus' / 'rules'
PAGE = (FOLDER / 'README.md').read_text()
DOCKERFILE = (ROOT / 'Dockerfile').read_text()
NAME = 'python-backend-worker-template'
#: The version that the page asks for; Debian 12's kubectl has a kustomize of 2019.
MINOR = 27

Manifest = dict[str, Any]


def kubectl_minor() -> int:
    """Return the minor version of kubectl 1.x, 0 where there is none."""
    if not shutil.which('kubectl'):
        return 0
    command = ['kubectl', 'version', '--client', '--output=json']
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(re.sub(r'\D', '', json.loads(said)['clientVersion']['minor']))


pytestmark = pytest.mark.skipif(kubectl_minor() < MINOR, reason=f'wants kubectl 1.{MINOR} or newer')


def rendered(folder: Path) -> list[Manifest]:
    command = ['kubectl', 'kustomize', str(folder)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope='module', params=['dev', 'prod'])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(FOLDER / 'overlays' / request.param)


@pytest.fixture(scope='module')
def prod() -> list[Manifest]:
    return rendered(FOLDER / 'overlays' / 'prod')


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the manifests of a kind by the name that follows the service's."""
    found = (each for each in manifests if each['kind'] == kind)
    return {each['metadata']['name'].removeprefix(NAME).lstrip('-'): each for each in found}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the specifications of the pods by process."""
    kinds = of_kind(manifests, 'Deployment') | of_kind(manifests, 'Job')
    return {name: each['spec']['template']['spec'] for name, each in kinds.items()}


def commands(title: str) -> list[str]:
    """Return the shell commands of a section of the page."""
    (section,) = re.findall(rf'^## {title}\n(.*?)(?=^## |\Z)', PAGE, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r'^```sh\n(.*?)^```', section, re.MULTILINE | re.DOTALL)
    return block.splitlines()


def test_every_pod_may_do_as_little_as_the_image_needs(manifests: list[Manifest]) -> None:
    (user,) = set(re.findall(r'^USER (\d+):\d+$', DOCKERFILE, re.MULTILINE))
    (metrics,) = re.findall(r'PROMETHEUS_MULTIPROC_DIR=(\S+)$', DOCKERFILE, re.MULTILINE)
    accounts = of_kind(manifests, 'ServiceAccount')
    assert (
        pods(manifests).keys() == accounts.keys() == {'worker', 'monitor', 'scheduler', 'migrate'}
    )
    for name, pod in pods(manifests).items():
        assert pod['serviceAccountName'] == f'{NAME}-{name}'
        assert pod['enableServiceLinks'] is False
        assert pod['securityContext'] == {
            'runAsNonRoot': True,
            **dict.fromkeys(['runAsUser', 'runAsGroup', 'fsGroup'], int(user)),
            'seccompProfile': {'type': 'RuntimeDefault'},
        }
        volumes = {volume['name']: volume['emptyDir'] for volume in pod['volumes']}
        (container,) = pod['containers']
        assert container['securityContext'] == {
            'allowPrivilegeEscalation': False,
            'readOnlyRootFilesystem': True,
            'capabilities': {'drop': ['ALL']},
        }
        assert container['resources']['limits'].keys() == {'memory'}
        mounted = {
            mount['mountPath']: volumes[mount['name']] for mount in container['volumeMounts']
        }
        assert mounted.keys() == {metrics, '/tmp'}
        assert mounted[metrics]['medium'] == 'Memory'
        assert all(volume['sizeLimit'] for volume in volumes.values())
        image, _, tag = container['image'].rpartition(':')
        assert image.endswith(f'/{NAME}')
        assert tag not in ('', 'latest')
    assert all(each['automountServiceAccountToken'] is False for each in accounts.values())


def test_a_selector_finds_the_pods_of_its_own_process(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, 'Deployment')
    labels = {
        name: each['spec']['template']['metadata']['labels'] for name, each in deployments.items()
    }
    for name, deployment in deployments.items():
        selector = deployment['spec']['selector']['matchLabels']
        assert [n for n, own in labels.items() if selector.items() <= own.items()] == [name]
    for kind in ('PodDisruptionBudget', 'PodMonitor'):
        for each in of_kind(manifests, kind).values():
            selector = each['spec']['selector']['matchLabels']
            assert [n for n, own in labels.items() if selector.items() <= own.items()] == ['worker']


def test_prometheus_scrapes_the_port_of_the_worker(prod: list[Manifest]) -> None:
    ((port,),) = (each['ports'] for each in pods(prod)['worker']['containers'])
    assert f'EXPOSE {port["containerPort"]}\n' in DOCKERFILE
    (monitor,) = of_kind(prod, 'PodMonitor').values()
    assert [each['port'] for each in monitor['spec']['podMetricsEndpoints']] == [port['name']]


def test_an_update_takes_no_capacity_and_leaves_the_replicas_to_keda(prod: list[Manifest]) -> None:
    spec = of_kind(prod, 'Deployment')['worker']['spec']
    assert spec['strategy']['rollingUpdate']['maxUnavailable'] == 0
    assert 'replicas' not in spec
    (scaled,) = of_kind(prod, 'ScaledObject').values()
    assert scaled['spec']['scaleTargetRef']['name'] == f'{NAME}-worker'
    for trigger in scaled['spec']['triggers']:
        assert trigger['metadata']['scaleOnInFlight'] == 'true'
        assert trigger['authenticationRef']['name'] in str(of_kind(prod, 'TriggerAuthentication'))


def test_the_alert_of_absent_workers_knows_the_deployment_and_the_scaled_object(
    prod: list[Manifest],
) -> None:
    text = (RULES / 'workers.yml').read_text()
    matchers = re.findall(r'(\w+)\{\s*(\w+)=~"(.+?)"\s*\}', text)
    assert [
        (metric, label) for metric, label, _ in matchers if not metric.startswith('python')
    ] == [
        ('kube_deployment_spec_replicas', 'deployment'),
        ('keda_scaler_active', 'scaledObject'),
        ('keda_scaler_detail_errors_total', 'scaledObject'),
    ]
    kinds = {'deployment': 'Deployment', 'scaledObject': 'ScaledObject'}
    for _, label, pattern in matchers:
        if label in kinds:
            names = of_kind(prod, kinds[label])
            assert [n for n in names if re.fullmatch(pattern, f'{NAME}-{n}')] == ['worker']


def test_the_page_s_command_sets_the_tag(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / 'kubernetes')
    folder = tmp_path / 'kubernetes' / 'overlays' / 'prod'
    (command,) = (line for line in commands('Deploy') if line.startswith('perl '))
    # As YAML reads it without quotes, this is a number.
    command = command.replace('1.2.3', '12e4567')
    subprocess.run(command, shell=True, cwd=folder, check=True)
    images = {
        pod['containers'][0]['image'].rpartition(':')[2] for pod in pods(rendered(folder)).values()
    }
    assert images == {'12e4567'}


def test_the_page_s_second_deployment_has_a_queue_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / 'kubernetes')
    folder = tmp_path / 'kubernetes' / 'overlays' / 'prod'
    (text,) = re.findall(r'^```yaml\n(apiVersion: kust.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
    (folder / 'slow').mkdir()
    (folder / 'slow' / 'kustomization.yaml').write_text(text)
    main = folder / 'kustomization.yaml'
    main.write_text(main.read_text().replace('resources:\n', 'resources:\n  - slow\n'))

    deployments = of_kind(rendered(folder), 'Deployment')
    worker, slow = deployments['worker'], deployments['worker-slow']
    assert worker['spec']['selector'] != slow['spec']['selector']
    first, second = (each['spec']['template']['spec'] for each in (worker, slow))
    added = second['containers'][0]['env'].pop()
    assert added == {'name': 'CONSUME_QUEUES', 'value': f'{NAME}-slow'}
    # The image's tag, the settings, the spread over zones: all of the overlay.
    assert second == first


def test_the_page_s_command_makes_a_prometheus_rule_of_each_file() -> None:
    command = '\n'.join(commands('Alerts'))
    command, replaced = re.subn(r' \| kubectl apply --filename -$', '', command)
    assert replaced
    text = subprocess.run(
        command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    rules = of_kind([each for each in yaml.safe_load_all(text) if each], 'PrometheusRule')
    assert {name: each['spec'] for name, each in rules.items()} == {
        path.stem: yaml.safe_load(path.read_text()) for path in RULES.iterdir()
    }


def test_core_objects_fit_the_schemas_of_kubernetes(manifests: list[Manifest]) -> None:
    schemas = pytest.importorskip('kubernetes_validate')
    core = [each for each in manifests if not re.match(r'keda|monitoring', each['apiVersion'])]
    assert core
    for each in core:
        schemas.validate(each, schemas.latest_version(), strict=True)


def program(manifests: list[Manifest], name: str) -> tuple[list[str], dict[str, str]]:
    """Return Python's arguments and the variables of a process, without those of secrets."""
    (container,) = pods(manifests)[name]['containers']
    environment = {each['name']: each['value'] for each in container.get('env', ())}
    for each in of_kind(manifests, 'ConfigMap').values():
        assert {'configMapRef': {'name': each['metadata']['name']}} in container['envFrom']
        environment = each['data'] | environment
    (default,) = re.findall(r'^CMD (\["python", "app.*\])$', DOCKERFILE, re.MULTILINE)
    (script,) = re.findall(
        r"'#!/bin/sh\\nexec (.+) \"\$@\"\\n' > /usr/local/bin/be-queue", DOCKERFILE
    )
    first, *rest = container.get('command') or json.loads(default)
    first = {'celery': 'python -m celery', 'be-queue': script}.get(first, first)
    python, *arguments = *first.split(), *rest
    assert python == 'python'
    expanded = [re.sub(r'\$\((\w+)\)', lambda m: environment[m[1]], each) for each in arguments]
    return expanded, environment


@pytest.mark.timeout(300)
def test_every_process_starts_answers_its_probes_and_stops(
    tmp_path: Path, sqs: SqsServer, postgres: PostgresServer
) -> None:
    manifests = rendered(FOLDER / 'overlays' / 'dev')
    port, env = free_port(), f'k{uuid.uuid4().hex[:10]}'
    own = {
        **postgres.environment,
        'ENV': env,  # queues of its own
        'SQS_ENDPOINT_URL': sqs.url,
        'SERVER_PORT': str(port),
        'CELERY_BEAT_SCHEDULE': "{'often': {'task': 'add', 'schedule': 1.0, 'args': (1, 2)}}",
    }

    def own_folder(name: str, text: str) -> str:
        return text.replace('/tmp/', f'{tmp_path / name}/')

    @contextmanager
    def started(name: str) -> Iterator[Program]:
        arguments, environment = program(manifests, name)
        environment = {key: own_folder(name, value) for key, value in environment.items()}
        environment |= own | {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path / name)}
        (tmp_path / name).mkdir()
        with running(arguments, environment, tmp_path / f'{name}.log') as process:
            yield process

    def answer(probe: str) -> int:
        (container,) = pods(manifests)['worker']['containers']
        request = container[probe]['httpGet']
        assert request['port'] == container['ports'][0]['name']
        try:
            url = f'http://127.0.0.1:{port}{request["path"]}'
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def is_alive(name: str) -> bool:
        (container,) = pods(manifests)[name]['containers']
        command = container['livenessProbe']['exec']['command']
        return subprocess.run([own_folder(name, each) for each in command]).returncode == 0

    def has_run() -> bool:
        query = """
            SELECT FROM tasks JOIN celery_taskmeta USING (task_id)
            WHERE tasks.queue = %s AND status = 'SUCCESS'
        """
        with postgres.connect() as connection:
            return connection.execute(query, [f'{env}-{NAME}-add']).fetchone() is not None

    with started('migrate') as migrate:
        assert migrate.ends(timeout=120) == 0
    with (
        started('monitor') as monitor,
        started('scheduler') as scheduler,
        started('worker') as worker,
    ):
        for probe in ('startupProbe', 'livenessProbe', 'readinessProbe'):
            wait_until(lambda p=probe: answer(p) == 200, f'the {probe} succeeds', timeout=120)
        for name in ('monitor', 'scheduler'):
            wait_until(lambda n=name: is_alive(n), f'the {name} is alive', timeout=120)
        wait_until(has_run, 'a scheduled task has run and is in the history', timeout=120)
        for process in (scheduler, worker, monitor):
            assert process.ends(signal.SIGTERM, timeout=120) == 0
