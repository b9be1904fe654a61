"""Tests of the template itself; `make new` removes them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

# They share helpers with the library's tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'be-queue'))

from tests.support import prometheus
from tests.support.process import ROOT

# Needs a program that no wheel has; CI has it.
collect_ignore = [] if prometheus.INSTALLED else ['test_deploy_promtool.py']


class Checkout:
    """A copy of this repository, as a user's clone of it."""

    #: The environment of a user's shell.
    variables = {name: os.environ[name] for name in ('PATH', 'HOME')} | {
        f'GIT_{who}_{what}': 'tester'
        for who in ('AUTHOR', 'COMMITTER')
        for what in ('NAME', 'EMAIL')
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.split('\0')[:-1]):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self.commit('git init --quiet')

    def commit(self, *first: str) -> None:
        for command in (*first, 'git add --all', 'git commit --quiet --message=all'):
            self.run(*command.split()).check_returncode()

    def install(self) -> None:
        """Give it this environment: CI has run `make test`, which installs it, in a clone."""
        environment = self.folder / '.venv'
        environment.mkdir()
        for entry in Path(sys.prefix).iterdir():
            if not entry.name.startswith('.'):
                (environment / entry.name).symlink_to(entry)
        for stamp in ('run', 'dev'):
            (environment / f'.{stamp}-requirements-installed').touch()
        # After `make lint`; mypy compares contents, and checks what differs.
        if (cache := ROOT / '.mypy_cache').is_dir():
            shutil.copytree(cache, self.folder / cache.name)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run('make', f'PYTHON={sys.executable}', *arguments)

    @contextmanager
    def running(self, *command: str, **variables: str) -> Iterator[Path]:
        """Run a command until Ctrl-C, when all its processes must end; yields its log's path."""
        log = self.folder / 'var' / 'log'
        log.parent.mkdir(exist_ok=True)
        with log.open('wb') as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.variables | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield log
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            process.wait(60)
            assert 'supervisor: SIGINT: stopping' in log.read_text()
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        except BaseException:
            print(log.read_text())  # noqa: T201
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory() as folder:
        # For root, PostgreSQL runs as another user, from .venv.
        Path(folder).chmod(0o755)
        yield Checkout(Path(folder))
