"""What a stranger does with a fresh copy and an empty environment."""

from __future__ import annotations

import re
from functools import partial

from be_queue.testing.ports import free_port
from be_queue.testing.waiting import wait_until
from template.conftest import ROOT, Checkout

README = (ROOT / 'README.md').read_text()
#: Where each command of the README is run.
RUN_BY = {
    'make run': 'test_a_fresh_copy_runs_with_two_commands',
    '.venv/bin/python -m examples.client': 'test_a_fresh_copy_runs_with_two_commands',
    '.venv/bin/python -m examples.client --count 100': 'test_a_fresh_copy_runs_with_two_commands',
    'curl http://127.0.0.1:8080/metrics': 'test_a_fresh_copy_runs_with_two_commands',
    'poetry install': 'by hand: Poetry is no dependency of the tests',
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


def test_a_fresh_copy_runs_with_two_commands(checkout: Checkout) -> None:
    checkout.install()
    # Beside the tests, other servers have the ports that the README's reader finds free.
    port = free_port()
    ports = {'SERVER_PORT': str(port), 'SQS_ENDPOINT_URL': f'embedded:{free_port()}'}
    with checkout.running('make', 'run', **ports) as log:
        announced = partial(re.search, r'send a first task: (.+)')
        found = wait_until(lambda: announced(log.read_text()), 'the server is ready', timeout=60)
        command = found[1]
        assert command == '.venv/bin/python -m examples.client'

        shown = checkout.run(*command.split(), **ports).stdout
        assert 'retry_demo' in shown
        assert 'SUCCESS' in shown
        checkout.run(*command.split(), '--count', '100', **ports).check_returncode()
        # One `add` of the first run and the hundred of the second.
        sample = (
            r'python_backend_worker_template_worker_tasks_count_total'
            r'\{name="add",queue="[\w-]+-template-add",state="SUCCESS"\} 101\.0'
        )
        curl = ('curl', '-s', f'http://127.0.0.1:{port}/metrics')
        wait_until(lambda: re.search(sample, checkout.run(*curl).stdout), 'all are counted')
