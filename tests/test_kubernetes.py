"""deploy/kubernetes fits the queues, the tasks and the settings: delete this with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config.configuration import Config
from app.config.queues import QUEUES
from app.worker import app
from be_queue import Queues
from be_queue.environment import known_settings

FOLDER = Path(__file__).resolve().parents[1] / 'deploy' / 'kubernetes'
OVERLAYS = [path.name for path in (FOLDER / 'overlays').iterdir()]


def read(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def settings_of(folder: Path) -> dict[str, str]:
    (kustomization,) = read(folder / 'kustomization.yaml')
    (settings,) = kustomization['configMapGenerator']
    return dict(literal.split('=', 1) for literal in settings['literals'])


@pytest.mark.parametrize('overlay', OVERLAYS)
def test_settings_are_known_and_valid(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(FOLDER / 'base') | settings_of(FOLDER / 'overlays' / overlay)
    celery = {f'CELERY_{name.upper()}' for name in known_settings()}
    assert settings.keys() <= {name.upper() for name in Config.model_fields} | celery
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert Config().env == settings['ENV']


@pytest.mark.parametrize('overlay', OVERLAYS)
def test_triggers_name_queues_and_scaled_to_zero_each_queue_has_one(overlay: str) -> None:
    folder = FOLDER / 'overlays' / overlay
    manifests = [each for path in folder.rglob('*.yaml') for each in read(path)]
    scaled = [each['spec'] for each in manifests if each['kind'] == 'ScaledObject']
    urls = [trigger['metadata']['queueURL'] for spec in scaled for trigger in spec['triggers']]
    triggers = {url.rpartition('/')[2] for url in urls}
    queues = Queues(QUEUES).build_celery(settings_of(folder)['ENV']).celery_task_queues()
    consumed = {queue.name for queue in queues if queue.consumed}
    assert triggers <= consumed
    if not all(spec['minReplicaCount'] for spec in scaled):
        assert triggers == consumed, 'nobody comes for a queue without a trigger'


def test_a_pod_has_more_time_to_stop_than_the_longest_task_takes() -> None:
    (worker,) = read(FOLDER / 'base' / 'worker' / 'worker.yaml')
    limits = [task.time_limit or app.conf.task_time_limit for task in app.tasks.values()]
    assert worker['spec']['template']['spec']['terminationGracePeriodSeconds'] > max(limits)
