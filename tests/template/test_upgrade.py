"""``make upgrade`` of a small service, from one tag of a small template to the next."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the changelog says of each release, oldest first.
CHANGES = {
    '0.2.0': '* What the service has.',
    '0.3.0': '* `one` is `two`.\n  In your files: `be_queue.one` is `be_queue.two`.',
    '0.10.0': '* A fault less.',
}
#: Which module each release has.
MODULES = {'0.2.0': 'one.py', '0.3.0': 'two.py', '0.10.0': 'two.py'}


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def git(folder: Path, *arguments: str) -> None:
    identity = ('-c', 'user.name=a', '-c', 'user.email=a@example.com', '-c', 'commit.gpgsign=no')
    subprocess.run(['git', *identity, *arguments], cwd=folder, check=True, capture_output=True)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def commit(root: Path, files: dict[str, str]) -> None:
    write(root, files)
    git(root, 'add', '--all')
    git(root, 'commit', '--quiet', '--message', 'A change')


def library(version: str) -> dict[str, str]:
    """Return the files of a small be-queue, which has the real pyproject.toml."""
    pyproject = (ROOT / 'be-queue' / 'pyproject.toml').read_text()
    released = list(CHANGES)[: list(CHANGES).index(version) + 1]
    sections = [f'## {number}\n\n{CHANGES[number]}\n' for number in reversed(released)]
    return {
        'be-queue/pyproject.toml': re.sub('(?m)^version = .*', f'version = "{version}"', pyproject),
        'be-queue/README.md': f'# be-queue {version}\n',
        'be-queue/LICENSE': f'Of {version}',
        'be-queue/CHANGELOG.md': '\n'.join(['# Changelog\n', *sections]),
        'be-queue/src/be_queue/__init__.py': '',
        f'be-queue/src/be_queue/{MODULES[version]}': f'# {version}\n',
    }


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template whose tags are v0.2.0, v0.3.0 and v0.10.0."""
    root = tmp_path / 'template'
    root.mkdir()
    git(root, 'init', '--quiet')
    for version in CHANGES:
        shutil.rmtree(root / 'be-queue', ignore_errors=True)
        commit(
            root, {**library(version), 'be-queue/tests/test_one.py': version, 'app/a.py': version}
        )
        git(root, 'tag', f'v{version}')
    return root


@dataclass
class Service:
    """A service, with a PATH that has nothing but what `make upgrade` needs."""

    root: Path
    bin: Path

    def upgrade(self, version: str, source: object = '') -> subprocess.CompletedProcess[str]:
        arguments = (f'VERSION={version}', f'FROM={source}', f'PYTHON={sys.executable}')
        return run(self.root, 'make', 'upgrade', *arguments, PATH=str(self.bin))

    def refusal(self, version: str, source: object = '') -> str:
        """Return the line of an upgrade that fails, and changes nothing."""
        before = self.files()
        ended = self.upgrade(version, source)
        assert (ended.returncode, ended.stdout) == (2, '')
        assert self.files() == before
        line, of_make = ended.stderr.splitlines()
        assert of_make.startswith('make: ***')
        return line

    def poetry(self, script: str) -> None:
        """Put a program on the PATH that is called as Poetry is."""
        program = self.bin / 'poetry'
        program.write_text(f'#!/bin/sh\n{script}\n')
        program.chmod(0o755)

    def files(self) -> dict[str, str]:
        found = (path for path in self.root.rglob('*') if path.is_file())
        names = {path.relative_to(self.root).as_posix(): path for path in found}
        return {name: names[name].read_text() for name in names if not name.startswith('.git/')}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    root, programs = tmp_path / 'service', tmp_path / 'bin'
    programs.mkdir()
    for name in ('git', 'make', 'sed', 'rm'):
        (programs / name).symlink_to(str(shutil.which(name)))
    root.mkdir()
    git(root, 'init', '--quiet')
    commit(
        root,
        {
            **library('0.2.0'),
            'Makefile': (ROOT / 'Makefile').read_text(),
            'tools/upgrade.py': (ROOT / 'tools' / 'upgrade.py').read_text(),
            'be-queue/tests/README.md': 'ours',
            'app/a.py': 'ours',
            'poetry.lock': 'old',
            'run-requirements.txt': 'old',
        },
    )
    return Service(root, programs)


def test_an_upgrade_replaces_the_library_alone(service: Service, template: Path) -> None:
    expected = {**service.files(), **library('0.3.0')}
    del expected['be-queue/src/be_queue/one.py']

    ended = service.upgrade('v0.3.0', template)

    assert (ended.returncode, ended.stderr) == (0, '')
    assert service.files() == expected
    assert ended.stdout == (
        'Poetry is not on the PATH: run `make lock` where it is.\n\n'
        f'## 0.3.0\n\n{CHANGES["0.3.0"]}\n\n'
        'be-queue/ is 0.3.0, was 0.2.0: change what it says, make test lint, commit\n'
    )


def test_the_changes_of_all_releases_between_are_shown(service: Service, template: Path) -> None:
    shown = service.upgrade('0.10.0', '../template').stdout

    assert re.findall('^## (.+)', shown, re.MULTILINE) == ['0.10.0', '0.3.0']
    assert service.upgrade('0.10.0', template).stdout == 'be-queue/ is 0.10.0 already\n'
    assert 'revert the commit' in service.refusal('0.3.0', template)


def test_an_upgrade_from_a_wheel_is_that_from_its_tag(
    service: Service, template: Path, tmp_path: Path
) -> None:
    git(template, 'checkout', '--quiet', 'v0.3.0')
    build = ('pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir')
    built = run(tmp_path, sys.executable, '-m', *build, 'dist', str(template / 'be-queue'))
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / 'dist').iterdir()

    assert 'holds be-queue 0.3.0, not 0.10.0' in service.refusal('0.10.0', wheel)
    expected = {**service.files(), **library('0.3.0')}
    del expected['be-queue/src/be_queue/one.py']
    assert service.upgrade('0.3.0', wheel).returncode == 0
    assert service.files() == expected


@pytest.mark.parametrize(
    ('exported', 'kept'),
    [
        ('-e file://$PWD/be-queue ; marker', ''),
        ('be-queue @ file://$PWD/vendor/be_queue.whl ; marker', './vendor/be_queue.whl ; marker\n'),
        ('be-queue==0.3.0 ; marker', 'be-queue==0.3.0 ; marker\n'),
    ],
)
def test_an_upgrade_relocks_without_paths_of_this_machine(
    service: Service, template: Path, exported: str, kept: str
) -> None:
    service.poetry(f'echo "$1" >> called; echo "{exported}" > .exported; echo six >> .exported')

    ended = service.upgrade('0.3.0', template)

    assert (ended.returncode, ended.stderr) == (0, '')
    assert (service.root / 'called').read_text() == 'lock\n' + 5 * 'export\n'
    assert (service.root / 'run-requirements.txt').read_text() == f'{kept}six\n'


def test_nothing_has_changed_when_the_lock_fails(service: Service, template: Path) -> None:
    service.poetry('echo new > poetry.lock; echo new > run-requirements.txt; exit 1')
    before = service.files()

    ended = service.upgrade('0.3.0', template)

    assert ended.returncode == 2
    assert 'make lock failed, see above: be-queue/ and the lock files are as before' in ended.stderr
    assert service.files() == before


def test_refusals_name_the_fix(service: Service, template: Path, tmp_path: Path) -> None:
    refusal = service.refusal
    assert refusal('new', template) == 'VERSION=new is no version: make upgrade VERSION=0.3.0'
    assert refusal('0.3.0').startswith('where is the template? make upgrade VERSION=0.3.0 FROM=')
    assert refusal('0.9.0', template) == (
        f'{template} has no tag v0.9.0; its tags: v0.2.0, v0.3.0, v0.10.0'
    )
    assert "'/gone' does not appear to be a git repository" in refusal('0.3.0', '/gone')
    assert refusal('0.3.0', 'gone.whl').startswith('cannot unpack gone.whl: ')
    git(template, 'rm', '--quiet', 'be-queue/CHANGELOG.md')
    commit(template, {})
    git(template, 'tag', 'v0.11.0')
    assert 'has no be-queue/CHANGELOG.md' in refusal('0.11.0', template)
    write(service.root, {'be-queue/src/be_queue/one.py': 'ours'})
    assert refusal('0.3.0', template).startswith(
        'be-queue/ has changes that the upgrade would lose'
    )
    shutil.rmtree(service.root / 'be-queue')
    assert refusal('0.3.0', template).startswith('there is no be-queue/: set its version in')
