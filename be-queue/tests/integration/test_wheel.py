"""The wheel alone, in an environment that knows nothing of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path

import pytest

from be_queue.results import ResultsExtraMissingError
from be_queue.testing.sqs import REGION, SqsServer
from tests.integration.received import Received, received

LIBRARY = Path(__file__).parents[2]

# Building and installing takes as long as the package index does.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this repository."""
    folder = tmp_path_factory.mktemp('wheel')
    pip('wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', str(folder), str(LIBRARY))
    (built,) = folder.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp('producer')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    interpreter = folder / 'bin' / 'python'
    pip('--python', str(interpreter), 'install', '--no-compile', str(wheel))
    return interpreter


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, '-m', 'pip', '--quiet', *arguments], check=True)


def run(python: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in a bare environment, away from the repository."""
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={'PATH': os.environ['PATH']},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_be_queue_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    (info,) = {name.partition('/')[0] for name in names} - {'be_queue'}
    assert info.startswith('be_queue-')
    assert info.endswith('.dist-info')
    sources = {
        path.relative_to(LIBRARY / 'src').as_posix()
        for path in (LIBRARY / 'src' / 'be_queue').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    # With the templates and files of the dashboard.
    assert {name for name in names if name.startswith('be_queue/')} == sources
    left = [*LIBRARY.glob('build'), *LIBRARY.rglob('*.egg-info')]
    assert left == [], 'building it leaves nothing in the tree'


PRODUCER = """
from importlib.util import find_spec

from celery import Celery

from be_queue import Queue, Queues

QUEUES = Queues(
    [
        Queue(queue_name='python-backend-worker-template-add', task='add'),
        Queue(queue_name='python-backend-worker-template-count', task='retry_demo'),
    ],
)
QUEUES.build_celery(env='{env}')

celery_app = Celery()
celery_app.config_from_object(
    {{
        'broker_transport_options': {{'region': '{region}', 'is_secure': False}},
        'broker_url': 'sqs://test:test@127.0.0.1:{port}',
        'task_queues': QUEUES.celery_task_queues(),
        'task_routes': QUEUES.celery_task_routes(),
    }}
)
print(celery_app.send_task('retry_demo', args=(0,)).id)
print(celery_app.send_task('add', args=(0, 1)).id)
print(','.join(n for n in ('be_queue', 'app', 'flask', 'sqlalchemy', 'psycopg') if find_spec(n)))
"""


def test_a_producer_needs_nothing_but_the_wheel(
    python: Path, tmp_path: Path, sqs: SqsServer
) -> None:
    env = f'wheel-{uuid.uuid4().hex[:12]}'
    program = tmp_path / 'producer.py'
    program.write_text(PRODUCER.format(env=env, region=REGION, port=sqs.port))

    sent = run(python, tmp_path, program.name)

    assert (sent.returncode, sent.stderr) == (0, '')
    retry_demo_id, add_id, installed = sent.stdout.split()
    assert installed == 'be_queue'
    retry_demo = Received('retry_demo', retry_demo_id, [0])
    add = Received('add', add_id, [0, 1])
    assert received(sqs, f'{env}-python-backend-worker-template-count') == [retry_demo]
    assert received(sqs, f'{env}-python-backend-worker-template-add') == [add]
    assert received(sqs, f'{env}-platform.fifo') == [retry_demo, add]


READER = """
import sys

from celery import Celery

from be_queue import Config

app = Celery()
app.config_from_object(Config(['foo'], SQS_ENDPOINT_URL=sys.argv[1], QUEUE_NAME_PREFIX=sys.argv[2]))
result = app.send_task('foo.one')
print('sent')
for read in (lambda: result.get(timeout=5), lambda: result.state, result.ready):
    try:
        read()
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_reading_a_result_names_the_extra(python: Path, tmp_path: Path, sqs: SqsServer) -> None:
    ended = run(python, tmp_path, '-c', READER, sqs.url, f'wheel-{uuid.uuid4().hex[:12]}')

    error = ResultsExtraMissingError()
    assert ended.stdout == 'sent\n' + 3 * f'{type(error).__name__} {error}\n'
    assert "pip install 'be-queue[results]'" in str(error)
    assert (ended.returncode, ended.stderr) == (0, '')


FUNCTIONAL_TESTS = """
from celery import Celery

from be_queue import Config
from be_queue.testing import build_functional_tests

app = Celery()
app.config_from_object(Config(['foo', 'bar.fifo']))
FunctionalTests = build_functional_tests(app)
"""


def test_a_producer_can_check_itself(python: Path, tmp_path: Path) -> None:
    (tmp_path / 'tests.py').write_text(FUNCTIONAL_TESTS)

    ended = run(python, tmp_path, '-m', 'unittest', 'tests.py')

    assert ended.stderr.rstrip().endswith('\nOK')
    assert 'skipped' not in ended.stderr
