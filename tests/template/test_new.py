"""`make new`, on copies of this repository."""

from __future__ import annotations

import re
import sys
import urllib.request

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.waiting import wait_until
from template.conftest import Checkout

TEMPLATE = re.compile('python.?backend.?worker.?template', re.IGNORECASE)


def names_of_the_template(checkout: Checkout) -> list[str]:
    return [
        file
        for file in checkout.run('git', 'ls-files').stdout.split()
        if not file.endswith('.png')
        and not file.startswith('be-queue/')
        and (TEMPLATE.search((checkout.folder / file).read_text()) or TEMPLATE.search(file))
    ]


def test_it_refuses_and_changes_nothing(checkout: Checkout) -> None:
    def refusal(*arguments: str) -> str:
        before = checkout.run('git', 'status', '--porcelain').stdout
        ended = checkout.make('new', *arguments)
        assert ended.returncode
        assert checkout.run('git', 'status', '--porcelain').stdout == before
        return ended.stderr

    for name in ('Thumbnailer', '', 'a--b', 'python-backend-worker-template'):
        line = f'NAME={name}: must be 2 to 40 lower-case letters'
        assert line in refusal(f'NAME={name}')
    line = 'DEMO=maybe: must be yes (the default) or no'
    assert line in refusal('NAME=thumbnailer', 'DEMO=maybe')

    compose = checkout.folder / 'docker-compose.yml'
    compose.write_text(compose.read_text().replace('examples.client', 'mine'))
    assert 'commit or stash them first' in refusal('NAME=thumbnailer', 'DEMO=no')
    checkout.commit()
    line = 'docker-compose.yml is no longer that of the template'
    assert line in refusal('NAME=thumbnailer', 'DEMO=no')


@pytest.mark.timeout(300)
def test_with_the_demo_its_own_tests_are_green_whatever_the_developer_has_set(
    checkout: Checkout,
) -> None:
    assert checkout.make('new', 'NAME=image-thumbs').returncode == 0
    checkout.commit()
    assert names_of_the_template(checkout) == []
    for file, line in {
        'app/config/configuration/configuration.py': "service_name: str = 'image-thumbs'",
        'deploy/prometheus/rules/tasks.yml': 'image_thumbs_tasks_finished_total',
    }.items():
        assert line in (checkout.folder / file).read_text()

    example = (checkout.folder / '.env.example').read_text()
    own = 'SERVICE_NAME=own\nMETRICS_PREFIX=own\nENV=prod\nSENTRY_DSN=http://key@127.0.0.1:9/1\n'
    dotenv = re.sub(r'^#(?=[A-Z_]+=)', '', example, flags=re.MULTILINE) + own
    (checkout.folder / '.env').write_text(dotenv)
    shell = dict(re.findall(r'^([A-Z_]+)=(.*)$', dotenv, re.MULTILINE))
    shell['HTTP_PROXY'] = 'http://127.0.0.1:9'
    for command in ('ruff check .', 'ruff format --check .', 'yamllint --strict .', 'pytest -q'):
        ended = checkout.run(sys.executable, '-m', *command.split(), **shell)
        assert ended.returncode == 0, ended.stdout


@pytest.mark.timeout(300)
def test_the_story_of_a_new_service(checkout: Checkout) -> None:
    """As README.md tells it, with `make`."""
    assert checkout.make('new', 'NAME=thumbnailer', 'DEMO=no').returncode == 0
    checkout.commit()
    assert names_of_the_template(checkout) == []
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

    checkout.install()
    ended = checkout.make('test', 'lint')
    assert ended.returncode == 0, ended.stdout + ended.stderr
    port = free_port()
    ports = {'SERVER_PORT': str(port), 'SQS_ENDPOINT_URL': f'embedded:{free_port()}'}
    with checkout.running('make', 'run', **ports) as log:
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
