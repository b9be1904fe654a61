"""`make new`, on copies of this repository."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = re.compile('python.?backend.?worker.?template', re.IGNORECASE)
#: The environment of a user's shell.
BARE = {name: os.environ[name] for name in ('PATH', 'HOME')} | {
    f'GIT_{who}_{what}': 'tester' for who in ('AUTHOR', 'COMMITTER') for what in ('NAME', 'EMAIL')
}


class Checkout:
    """A copy of this repository, as a user's clone of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(lambda name: (ROOT / name).is_file(), names.split('\0')[:-1]):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self.commit('git init --quiet')

    def commit(self, *first: str) -> None:
        for command in (*first, 'git add --all', 'git commit --quiet --message=all'):
            self.run(*command.split()).check_returncode()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=BARE | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run('make', f'PYTHON={sys.executable}', *arguments)

    def names_of_the_template(self) -> list[str]:
        files = self.run('git', 'ls-files').stdout.split()
        return [
            file
            for file in files
            if not file.endswith('.png')
            and not file.startswith('be-queue/')
            and (TEMPLATE.search((self.folder / file).read_text()) or TEMPLATE.search(file))
        ]


@pytest.fixture(scope='module')
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp('untouched'))


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory() as folder:
        # For root, PostgreSQL runs as another user, from .venv.
        Path(folder).chmod(0o755)
        yield Checkout(Path(folder))


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (['NAME=Thumbnailer'], 'NAME=Thumbnailer: must be 2 to 40 lower-case letters'),
        (['NAME='], 'NAME=: must be 2 to 40 lower-case letters'),
        (['NAME=a--b'], 'NAME=a--b: must be 2 to 40 lower-case letters'),
        (['NAME=python-backend-worker-template'], 'must be 2 to 40 lower-case letters'),
        (['NAME=thumbnailer', 'DEMO=maybe'], 'DEMO=maybe: must be yes (the default) or no'),
    ],
)
def test_a_bad_name_is_refused(untouched: Checkout, arguments: list[str], line: str) -> None:
    ended = untouched.make('new', *arguments)
    assert ended.returncode
    assert line in ended.stderr
    assert not untouched.run('git', 'status', '--porcelain').stdout


def test_it_changes_nothing_beside_changes_or_in_an_edited_template(checkout: Checkout) -> None:
    compose = checkout.folder / 'docker-compose.yml'
    compose.write_text(compose.read_text().replace('examples.client', 'mine'))
    ended = checkout.make('new', 'NAME=thumbnailer', 'DEMO=no')
    assert 'commit or stash them first' in ended.stderr

    checkout.commit()
    ended = checkout.make('new', 'NAME=thumbnailer', 'DEMO=no')
    assert 'docker-compose.yml is no longer that of the template' in ended.stderr
    assert not checkout.run('git', 'status', '--porcelain').stdout


def test_with_the_demo_its_own_tests_are_green(checkout: Checkout) -> None:
    assert checkout.make('new', 'NAME=image-thumbs').returncode == 0
    checkout.commit()
    assert checkout.names_of_the_template() == []
    assert (
        "service_name: str = 'image-thumbs'"
        in (checkout.folder / 'app/config/configuration/configuration.py').read_text()
    )
    assert (
        'image_thumbs_tasks_finished_total'
        in (checkout.folder / 'deploy/prometheus/rules/tasks.yml').read_text()
    )
    for command in (
        'ruff check .',
        'ruff format --check .',
        'yamllint --strict .',
        'pytest -q -n0',
    ):
        ended = checkout.run(sys.executable, '-m', *command.split())
        assert ended.returncode == 0, ended.stdout


@pytest.mark.timeout(900)
def test_the_story_of_a_new_service(checkout: Checkout) -> None:
    """As README.md tells it, with `make` and an environment of its own."""
    assert checkout.make('new', 'NAME=thumbnailer', 'DEMO=no').returncode == 0
    checkout.commit()
    assert checkout.names_of_the_template() == []
    assert checkout.run('git', 'grep', 'examples[./]', '--', ':!be-queue').stdout == ''
    again = checkout.make('new', 'NAME=thumbnailer')
    assert again.returncode
    assert again.stdout == 'make new: this is the service thumbnailer already\n'

    readme = (checkout.folder / 'README.md').read_text()
    task, queue, test = re.findall(r'^ *```python\n(.*?)^ *```', readme, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r'^ *\.venv/bin/python -c "(.*)"$', readme, re.MULTILINE)
    for file, text in {
        'app/tasks/tasks.py': task,
        'app/config/queues.py': queue,
        'tests/test_thumbnail.py': test,
    }.items():
        (checkout.folder / file).write_text(re.sub('^   ', '', text, flags=re.MULTILINE))

    ended = checkout.make('test', 'lint')
    assert ended.returncode == 0, ended.stdout + ended.stderr
    port = free_port()
    ports = {'SERVER_PORT': str(port), 'SQS_ENDPOINT_URL': f'embedded:{free_port()}'}
    with running(checkout, 'make', 'run', **ports) as log:
        wait_until(lambda: 'ready: dashboard' in log.read_text(), 'it is ready', timeout=120)
        sent = checkout.run('.venv/bin/python', '-c', command, **ports)
        assert sent.stdout == 'a.png?size=256\n', sent.stderr
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics') as answer:
            metrics = answer.read().decode()
        finished = r'thumbnailer_tasks_finished_total{name="thumbnail",.*state="SUCCESS"} 1.0'
        assert re.search(finished, metrics)
    owned = checkout.run('git', 'ls-files', '--cached', '--others', '--exclude-standard', '*.py')
    files = [file for file in owned.stdout.split() if not file.startswith('be-queue/')]
    assert sum(len((checkout.folder / file).read_text().splitlines()) for file in files) < 1500


@contextmanager
def running(checkout: Checkout, *command: str, **variables: str) -> Iterator[Path]:
    """Run a command until Ctrl-C; it must then end without an error. Yields the path of its log."""
    log = checkout.folder / 'var' / 'log'
    log.parent.mkdir(exist_ok=True)
    with log.open('wb') as output:
        process = subprocess.Popen(
            command,
            cwd=checkout.folder,
            env=BARE | variables,
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
