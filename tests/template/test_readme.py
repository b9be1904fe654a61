"""What a stranger does with a fresh copy and an empty environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.processes import alive, descendants, kill
from be_queue.testing.waiting import wait_until
from tests.support.worker import ROOT

README = (ROOT / 'README.md').read_text()
#: Where each command of the README is run.
RUN_BY = {
    'make run': 'test_a_fresh_copy_runs_with_two_commands',
    '.venv/bin/python -m examples.client': 'test_a_fresh_copy_runs_with_two_commands',
    '.venv/bin/python -m examples.client --count 100': 'test_a_fresh_copy_runs_with_two_commands',
    'curl http://127.0.0.1:8080/metrics': 'test_a_fresh_copy_runs_with_two_commands',
    'poetry install': 'the image and .gitlab-ci.yml: Poetry is no dependency of the tests',
    'poetry run python3 app/server.py': 'tests/e2e/test_server.py, in the same .venv',
    'docker-compose up --build': 'by hand: a test may not count on a Docker engine',
    'make upgrade VERSION=0.3.0 FROM=../python-backend-worker-template': (
        'tests/template/test_upgrade.py'
    ),
    'make new NAME=thumbnailer': 'test_new.py',
    'pip install be-queue': 'tests/integration/test_wheel.py',
}


def test_every_command_of_the_readme_is_accounted_for() -> None:
    blocks = re.findall(r'^```sh\n(.*?)^```', README, re.MULTILINE | re.DOTALL)
    assert {line for block in blocks for line in block.splitlines()} == set(RUN_BY)


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r'(?:`|\]\()((?:app|be-queue|deploy|examples|docs|tests)/[\w./-]+)', README)
    folder = ''
    for line in re.search(r'```text\n(app/ .*?)```', README, re.DOTALL)[1].splitlines():
        name = line.split()[0]
        folder = '' if line[0] != ' ' else folder
        named.append(folder + name)
        folder = folder or name
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that git tracks, as a new clone would have them."""
    tracked = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True
    ).stdout
    folder = tmp_path / 'copy'
    for name in tracked.decode().strip('\0').split('\0'):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return folder


def installed(copy: Path) -> None:
    """Have this Python's packages there already: ``make test`` installs them in the same way."""
    environment = copy / '.venv'
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith('.'):
            (environment / entry.name).symlink_to(entry)
    (environment / '.run-requirements-installed').touch()


def test_a_fresh_copy_runs_with_two_commands(copy: Path, tmp_path: Path) -> None:
    installed(copy)
    environment = {
        **{name: os.environ[name] for name in ('PATH', 'HOME') if name in os.environ},
        # Beside the tests, other servers have the ports that the README's reader finds free.
        'SERVER_PORT': str(free_port()),
        'SQS_ENDPOINT_URL': f'embedded:{free_port()}',
    }
    log_path = tmp_path / 'log'
    with log_path.open('wb') as log:
        # A session of its own, so that the signal below reaches make and the server as Ctrl-C does.
        make = subprocess.Popen(
            ['make', 'run'],
            cwd=copy,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def announced() -> re.Match[str] | None:
        assert make.poll() is None, log_path.read_text()
        return re.search(r'send a first task: (.+)', log_path.read_text())

    try:
        command = wait_until(announced, 'the server is ready', timeout=60)[1]
        assert command == '.venv/bin/python -m examples.client'
        pids = list(descendants(make.pid))

        def run(line: str) -> str:
            return subprocess.run(
                line.split(), cwd=copy, env=environment, check=True, capture_output=True, text=True
            ).stdout

        shown = run(command)
        assert 'retry_demo' in shown
        assert 'SUCCESS' in shown
        run(f'{command} --count 100')
        url = f'http://127.0.0.1:{environment["SERVER_PORT"]}'
        # One `add` of the first run and the hundred of the second.
        sample = (
            r'python_backend_worker_template_worker_tasks_count_total'
            r'\{name="add",queue="[\w-]+-template-add",state="SUCCESS"\} 101\.0'
        )
        wait_until(lambda: re.search(sample, run(f'curl -s {url}/metrics')), 'all are counted')

        os.killpg(make.pid, signal.SIGINT)
        make.wait(timeout=30)
        wait_until(lambda: not any(map(alive, pids)), 'every process has ended')
    finally:
        for pid in (make.pid, *descendants(make.pid)):
            kill(pid)


def test_the_tests_do_not_see_settings_of_the_developer(copy: Path) -> None:
    example = (copy / '.env.example').read_text()
    own = 'SERVICE_NAME=own\nMETRICS_PREFIX=own\nENV=prod\nSENTRY_DSN=http://key@127.0.0.1:9/1\n'
    dotenv = re.sub(r'^#(?=[A-Z_]+=)', '', example, flags=re.MULTILINE) + own
    (copy / '.env').write_text(dotenv)
    shell = dict(re.findall(r'^([A-Z_]+)=(.*)$', dotenv, re.MULTILINE))
    shell |= {'HTTP_PROXY': 'http://127.0.0.1:9', 'PATH': os.environ['PATH']}
    tests = ['test_architecture.py', 'test_worker.py']
    ended = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', *(f'tests/{name}' for name in tests)],
        cwd=copy,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
