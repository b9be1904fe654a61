"""The jobs of GitLab and of GitHub, in the template and in a service that it becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from template.conftest import ROOT, Checkout

FILES = {
    '.gitlab-ci.yml': 'vendor.gitlab-ci',
    '.github/workflows/ci.yml': 'vendor.github-workflows',
    '.github/dependabot.yml': 'vendor.dependabot',
}


def jobs(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return GitLab's file and GitHub's jobs."""
    gitlab = yaml.safe_load((folder / '.gitlab-ci.yml').read_text())
    return gitlab, yaml.safe_load((folder / '.github/workflows/ci.yml').read_text())['jobs']


@pytest.fixture
def service(checkout: Checkout) -> Path:
    assert checkout.make('new', 'NAME=thumbnailer').returncode == 0
    return checkout.folder


def assert_valid(folder: Path) -> None:
    for file, schema in FILES.items():
        command = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', schema, file]
        checked = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def called_targets(folder: Path) -> set[str]:
    """Return the targets of make that the jobs call."""
    gitlab, github = jobs(folder)
    lines = [line for job in gitlab.values() if 'script' in job for line in job['script']]
    called = set()
    for job in github.values():
        lines += [step.get('run', '') for step in job['steps']]
        called |= set(job.get('strategy', {}).get('matrix', {}).get('make', ()))
    commands = re.sub(r'\$\{\{.*?\}\}', '', '\n'.join(lines))
    for words in re.findall(r'^ *make (.*)$', commands, re.MULTILINE):
        called |= {word for word in words.split() if re.fullmatch('[a-z-]+', word)}
    return called


def assert_targets_exist(folder: Path) -> None:
    makefile = (folder / 'Makefile').read_text()
    targets = set(re.findall(r'^([a-z-]+):.*## ', makefile, re.MULTILINE))
    called = called_targets(folder)
    assert called >= {'lint', 'test', 'audit', 'image', 'scan'}
    assert called <= targets


def test_they_are_valid_and_call_targets_that_exist() -> None:
    assert_valid(ROOT)
    assert_targets_exist(ROOT)
    assert {'test-library', 'newest', 'upstream', 'wheel'} <= called_targets(ROOT)


def test_a_service_has_its_own_jobs_alone(service: Path) -> None:
    assert_valid(service)
    assert_targets_exist(service)
    gitlab, github = jobs(service)
    stages = {name: job['stage'] for name, job in gitlab.items() if 'stage' in job}
    assert stages == {
        'lint': 'lint',
        'audit': 'lint',
        'test': 'test',
        'build-image': 'build',
        '.deploy': 'deploy',
    }
    assert gitlab['stages'] == list(dict.fromkeys(stages.values()))
    assert github.keys() == {'check', 'image'}
    assert gitlab['test']['script'] == ['make test ARGS=--junitxml=report.xml']
    assert github['check']['strategy']['matrix'].keys() == {'make', 'python'}
    for name in ('LICENSE', 'SECURITY.md', 'CHANGELOG.md'):
        assert not (service / name).exists()
    assert (service / 'be-queue' / 'LICENSE').exists()


def test_every_python_version_is_the_same_everywhere() -> None:
    gitlab, github = jobs(ROOT)
    (matrix,) = gitlab['test']['parallel']['matrix']
    tested = matrix['PYTHON_MINOR']
    by_number = sorted(tested, key=lambda version: [int(part) for part in version.split('.')])
    assert tested == by_number
    newest = tested[-1]
    assert gitlab['variables']['PYTHON_MINOR'] == newest
    matrix = github['check']['strategy']['matrix']
    assert [newest] == matrix['python']
    assert [one['python'] for one in matrix['include']] == tested[:-1]
    assert {one['make'] for one in matrix['include']} == {'test'}
    assert github['weekly']['container']['image'] == f'python:{newest}-slim'
    base = re.search(
        r'^ARG BASE=python:([\d.]+)-slim$', (ROOT / 'Dockerfile').read_text(), re.MULTILINE
    )
    assert base
    assert base[1] == newest
    assert f'requires-python = ">={tested[0]},' in (ROOT / 'pyproject.toml').read_text()
    assert f'supported=({" ".join(tested)})' in (ROOT / '.ci' / 'run').read_text()


def test_an_image_is_scanned_before_it_is_registered() -> None:
    gitlab, github = jobs(ROOT)
    runs = [step['run'] for step in github['image']['steps'] if 'run' in step]
    for script in (gitlab['build-image']['script'], runs):
        text = '\n'.join(script)
        assert 0 < text.index('make scan') < text.index('docker push')


def test_actions_are_pinned_by_commit() -> None:
    used = re.findall(r'uses: (.*)', (ROOT / '.github/workflows/ci.yml').read_text())
    assert used
    pinned = re.compile(r'actions/\w+@[0-9a-f]{40}  # v[\d.]+')
    assert [action for action in used if not pinned.fullmatch(action)] == []


def test_a_deployment_is_that_of_the_page() -> None:
    """With a limit to each wait, since nobody looks on."""
    page = (ROOT / 'deploy' / 'kubernetes' / 'README.md').read_text()
    (block,) = re.findall(r'^## Deploy\n\n```sh\n(.*?)```', page, re.MULTILINE | re.DOTALL)
    shown = [line for line in block.splitlines() if line.startswith('kubectl ')]
    gitlab, _ = jobs(ROOT)
    script = gitlab['.deploy']['script']
    run = [line for line in script if line.startswith('kubectl ') and ' config ' not in line]
    assert len(run) == len(shown) > 0
    for line, command in zip(run, shown, strict=True):
        assert line.removesuffix(' --timeout 10m') == command.removesuffix(' --timeout 10m')
    for name, job in gitlab.items():
        if isinstance(job, dict) and job.get('extends') == '.deploy':
            assert name == f'deploy-{job["environment"]}'
            overlay = ROOT / 'deploy' / 'kubernetes' / 'overlays' / job['environment']
            text = (overlay / 'kustomization.yaml').read_text()
            assert len(re.findall('^ *- name: .*\n *newName: .*\n *newTag: .*$', text, re.M)) == 1
