"""Debian's promtool finds no fault with the shipped configuration, and its rule tests pass."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.prometheus import FOLDER

#: A user's own METRICS_PREFIX, and the page that says how to bring it into the files.
PREFIX = 'payments'
PAGE = (FOLDER / 'README.md').read_text()
ROOT = FOLDER.parents[1]


def promtool(*arguments: object, folder: Path = FOLDER) -> str:
    command = ['promtool', *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_configuration_is_valid_and_reads_every_file_of_rules() -> None:
    said = promtool('check', 'config', 'prometheus.yml')
    files = list((FOLDER / 'rules').iterdir())
    assert f'{len(files)} rule files found' in said


@pytest.mark.parametrize('path', sorted((FOLDER / 'tests').iterdir()), ids=lambda path: path.stem)
def test_alerts_fire_and_end_as_their_tests_say(path: Path) -> None:
    assert 'SUCCESS' in promtool('test', 'rules', path)


def test_the_page_shows_commands_that_work() -> None:
    commands = re.findall(r'^promtool .+$', PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True)


def test_one_command_brings_another_prefix_into_rules_and_dashboard(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'deploy', tmp_path / 'deploy')
    (command,) = re.findall(r'^perl .+$', PAGE, re.MULTILINE)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    renamed = tmp_path / 'deploy' / 'prometheus'
    for path in sorted((renamed / 'tests').iterdir()):
        promtool('test', 'rules', path, folder=renamed)
    files = [*(renamed / 'rules').iterdir(), *(renamed.parent / 'grafana' / 'dashboards').iterdir()]
    for path in files:
        text = path.read_text()
        assert f'{PREFIX}_' in text
        assert 'python_backend_worker_template' not in text
