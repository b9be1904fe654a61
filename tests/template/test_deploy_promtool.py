"""Debian's promtool finds no fault with the shipped configuration, and its rule tests pass."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.process import ROOT
from tests.support.prometheus import FOLDER

#: The user's own METRICS_PREFIX in the page's command that brings it into the files.
PREFIX = 'payments'
PAGE = (FOLDER / 'README.md').read_text()


def run(command: str, folder: Path = ROOT) -> str:
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_configuration_is_valid_and_alerts_fire_and_end_by_the_page_s_commands() -> None:
    read = run('promtool check config prometheus.yml', FOLDER)
    assert f'{len(list((FOLDER / "rules").iterdir()))} rule files found' in read
    check, test = re.findall(r'^promtool .+$', PAGE, re.MULTILINE)
    run(check)
    assert run(test).count('SUCCESS') == len(list((FOLDER / 'tests').iterdir()))


def test_one_command_brings_another_prefix_into_rules_and_dashboard(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'deploy', tmp_path / 'deploy')
    (command,) = re.findall(r'^perl .+$', PAGE, re.MULTILINE)
    run(command, tmp_path)
    deploy = tmp_path / 'deploy'
    run('promtool test rules tests/tasks.yml', deploy / 'prometheus')
    for folder in ('prometheus/rules', 'prometheus/tests', 'grafana/dashboards'):
        for path in (deploy / folder).iterdir():
            text = path.read_text()
            assert f'{PREFIX}_' in text
            assert 'python_backend_worker_template' not in text
