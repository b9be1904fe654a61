"""The policies of deploy/aws allow each request that a process sends to SQS, and no other right.

One test starts all processes, since each request of all of them is to be seen.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.config.queues import QUEUES
from be_queue import Config, Queue, Queues, send_batch
from be_queue.naming import FIFO_SUFFIX, dead_letter_name
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.browser import Browser, bearer
from tests.support.faulty import FaultySqs, Handler, faulty_sqs
from tests.support.faulty_service import says
from tests.support.process import ROOT, running
from tests.support.worker import Server, Site

FOLDER = ROOT / 'deploy' / 'aws'
README = (FOLDER / 'README.md').read_text()
ARN = 'arn:aws:sqs:REGION:ACCOUNT:'
ADD, RETRY, SLOW = (
    f'prod-python-backend-worker-template-{name}' for name in ('add', 'retry-demo', 'slow')
)
CELERY, PLATFORM = 'prod-celery', 'prod-platform.fifo'
#: A queue of each kind.
KINDS = (ADD, CELERY, PLATFORM)
TOKEN = 'a-token-of-an-operator'
SETTINGS = {
    'ENV': 'prod',
    'SERVER_HOST': '127.0.0.1',
    'SQS_CREATE_QUEUES': 'false',
    'DASHBOARD_OPEN': 'true',
    'ADMIN_TOKEN': TOKEN,
    # A message that is held is extended after a second.
    'CELERY_BROKER_TRANSPORT_OPTIONS': repr({'visibility_timeout': 3, 'wait_time_seconds': 1}),
}
#: Runs commands in one process.
COMMANDS = """
import sys
from be_queue.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as ended:
        print(f'{command}: exit code {ended.code}')
"""

Action = str
QueueName = str
#: An action of IAM, and the queue; '' for none.
Requests = set[tuple[Action, QueueName]]


def rights_of(policy: str) -> Iterator[tuple[Action, str]]:
    """Yield each action that a policy allows, with each pattern of a resource."""
    for statement in json.loads((FOLDER / f'{policy}.json').read_text())['Statement']:
        assert statement.keys() == {'Sid', 'Effect', 'Action', 'Resource'}
        assert statement['Effect'] == 'Allow'
        for action in statement['Action']:
            for resource in statement['Resource']:
                yield action, resource


def allows(right: tuple[Action, str], request: tuple[Action, QueueName]) -> bool:
    (action, resource), (asked, queue) = right, request
    if not queue or resource == '*':
        return action == asked and not queue and resource == '*'
    return action == asked and fnmatchcase(f'{ARN}{queue}', resource)


class Scene:
    """One SQS server, and a recorder of requests before it for each process."""

    def __init__(self, sqs: SqsServer, postgres: PostgresServer, folder: Path) -> None:
        self.client, self._sqs, self._folder = sqs.client(), sqs, folder
        self.postgres = postgres.with_a_proxy_of_its_own()
        self.site = Site(folder, sqs.url, self.postgres.environment)

    @contextmanager
    def recorder(self, requests: Requests) -> Iterator[FaultySqs]:
        """Run a proxy; in the end its requests are added to those given."""
        with faulty_sqs(self._sqs.port) as proxy:
            yield proxy
            requests |= self.seen(proxy)

    @staticmethod
    def seen(proxy: FaultySqs) -> Requests:
        # A right for a request is one for a batch of it.
        return {(f'sqs:{op.removesuffix("Batch")}', queue) for op, queue in proxy.asked.copy()}

    def wait_asked(self, proxy: FaultySqs, operation: str, *queues: str) -> None:
        for queue in queues:
            what = f'{operation} of {queue}'
            wait_until(lambda q=queue: proxy.asked[operation, q], what, timeout=60)

    def producer(self, url: str = '', *, creates: bool = False) -> Celery:
        queues = Queues(Queue(queue_name=q.queue_name, task=q.task) for q in QUEUES)
        queues.build_celery('prod')
        app, options = Celery(set_as_current=False), {'create_queues': creates}
        url = url or self._sqs.url
        app.config_from_object(
            Config(queues, SQS_ENDPOINT_URL=url, broker_transport_options=options)
        )
        return app

    @contextmanager
    def server(self, proxy: FaultySqs, **variables: str) -> Iterator[Server]:
        variables = SETTINGS | {'SQS_ENDPOINT_URL': proxy.url} | variables
        with self.site.server(**variables) as server:
            yield server
            server.signal(signal.SIGTERM)
            assert server.wait_ended() == 0

    def program(self, proxy: FaultySqs, *arguments: str, **variables: str) -> Any:
        variables = {**self.site.environment, **SETTINGS, **variables}
        variables['SQS_ENDPOINT_URL'] = proxy.url
        return running(arguments, variables, self._folder / 'log')

    def url(self, queue: str) -> str:
        return str(self.client.get_queue_url(QueueName=queue)['QueueUrl'])

    def send(self, queue: str, text: str) -> None:
        group = {'MessageGroupId': text, 'MessageDeduplicationId': text}
        self.client.send_message(
            QueueUrl=self.url(queue),
            MessageBody=text,
            **(group if queue.endswith(FIFO_SUFFIX) else {}),
        )

    def send_dead_letters(self, *queues: str) -> None:
        for queue in queues:
            for task_id in ('one', 'two', 'three'):
                headers = {'id': task_id, 'task': 'add'}
                self.send(dead_letter_name(queue), json.dumps({'headers': headers, 'body': ''}))


def create_queues(scene: Scene) -> tuple[Requests, Requests]:
    """Have a worker, then a producer, make queues; return the requests of each.

    The worker finds some without their redrive policies.
    """
    of_worker: Requests = set()
    of_producer: Requests = set()
    for name in KINDS:
        attributes = {'FifoQueue': 'true'} if name.endswith(FIFO_SUFFIX) else {}
        scene.client.create_queue(QueueName=name, Attributes=attributes)
    with scene.recorder(of_worker) as proxy, scene.server(proxy, SQS_CREATE_QUEUES='true'):
        pass
    for name in (RETRY, CELERY, PLATFORM):
        scene.client.delete_queue(QueueUrl=scene.url(name))
    with scene.recorder(of_producer) as proxy:
        app = scene.producer(proxy.url, creates=True)
        app.send_task('retry_demo', (1,))
        app.send_task('celery.backend_cleanup')
    return of_worker, of_producer


def produce(scene: Scene) -> Requests:
    found: Requests = set()
    with scene.recorder(found) as proxy:
        app = scene.producer(proxy.url)
        app.send_task('add', (1, 2), countdown=1)
        app.send_task('celery.backend_cleanup')
        send_batch(app, [app.signature('add', (1, 2)) for _ in range(20)])
    return found


def work(scene: Scene) -> tuple[Requests, Requests]:
    """Return the requests of worker and web server, and those once people act by the pages."""
    acting: Requests = set()
    with scene.recorder(acting) as proxy, scene.server(proxy) as server:
        app = scene.producer()
        # As of a producer that does not delay it.
        later = {
            'headers': {'eta': '2100-01-01T00:00:00+00:00', 'id': 'later', 'task': 'add'},
            'body': '[[1, 2], {}, {}]',
            'content-type': 'application/json',
            'content-encoding': 'utf-8',
            'properties': {'delivery_tag': 'later', 'delivery_info': {}},
        }
        for queue in (ADD, CELERY):
            app.send_task('slow', (4,), queue=queue)
            app.send_task('retry_demo', (1,), queue=queue)
            app.send_task('unknown', queue=queue)
            scene.send(queue, json.dumps(later))
        dead = [dead_letter_name(queue) for queue in KINDS]
        scene.wait_asked(proxy, 'SendMessageBatch', ADD, CELERY)
        scene.wait_asked(proxy, 'SendMessage', ADD, CELERY, PLATFORM, *dead[:2])
        scene.wait_asked(proxy, 'ChangeMessageVisibilityBatch', ADD, CELERY)
        scene.wait_asked(proxy, 'DeleteMessageBatch', ADD, CELERY)
        scene.wait_asked(proxy, 'GetQueueAttributes', *dead)
        working = scene.seen(proxy)

        proxy.asked.clear()
        scene.send_dead_letters(ADD)
        port = int(server.url.rpartition(':')[2])
        script = Browser(port, **bearer(TOKEN))
        assert script.get(f'/dead-letters/{ADD}').status == 200
        for action, fields in {
            'redrive': [('ids', 'one')],
            'delete': [('ids', 'two')],
            'purge': [],
        }.items():
            answer = script.post(f'/actions/{action}', ('queue', ADD), *fields)
            assert answer.status == 200, answer.text
    return working, acting


def monitor(scene: Scene) -> Requests:
    found: Requests = set()
    with scene.recorder(found) as proxy, scene.program(proxy, '-m', 'app.monitor') as program:
        scene.send(PLATFORM, 'no task')
        scene.wait_asked(proxy, 'SendMessage', dead_letter_name(PLATFORM))
        scene.wait_asked(proxy, 'DeleteMessageBatch', PLATFORM)
        scene.postgres.proxy.cut()
        scene.producer().send_task('add', (1, 2))
        wait_until(lambda: 'database is unavailable' in program.log, 'a row waits for it')
        assert program.ends(signal.SIGTERM, 60) == 0
        scene.postgres.proxy.restore()
    return found


def schedule(scene: Scene) -> Requests:
    found: Requests = set()
    often = repr({'often': {'task': 'add', 'schedule': 0.5, 'args': (1, 2)}})
    beat = ('-m', 'celery', '--app', 'app.worker', 'beat')
    with (
        scene.recorder(found) as proxy,
        scene.program(proxy, *beat, CELERY_BEAT_SCHEDULE=often) as program,
    ):
        scene.wait_asked(proxy, 'SendMessage', ADD, PLATFORM)
        assert program.ends(signal.SIGTERM, 60) == 0
    return found


def command(scene: Scene, *commands: str, code: int = 0) -> Requests:
    """Run commands of be-queue, each on all kinds of queues that it is to be run on."""
    found: Requests = set()
    each = [c.format(queue) for c in commands for queue in KINDS if '{}' in c or queue == ADD]
    moves = iter([[], [{'Status': 'COMPLETED'}]] * len(KINDS))

    def look(handler: Handler) -> None:
        handler.answer(200, json.dumps({'Results': next(moves)}).encode())

    with scene.recorder(found) as proxy:
        # AWS moves messages by itself; the servers for tests cannot.
        proxy.fail('StartMessageMoveTask', says(200, b'{"TaskHandle": "x"}'))
        proxy.fail('ListMessageMoveTasks', look)
        with scene.program(proxy, '-c', COMMANDS, *each) as program:
            program.ends(timeout=120)
            codes = re.findall('^(.*): exit code (.*)$', program.log, re.MULTILINE)
            assert codes == [(one, str(code)) for one in each]
    return found


@pytest.mark.timeout(600)
def test_policies_allow_what_each_process_asks_and_nothing_else(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    scene = Scene(sqs, postgres, tmp_path)
    assert command(scene, 'migrate') == set()
    worker_creating, producer_creating = create_queues(scene)
    producing = produce(scene)
    working, acting_by_pages = work(scene)
    scheduling = schedule(scene)
    monitoring = monitor(scene)
    scene.send_dead_letters(*KINDS)
    looking = command(scene, 'status', 'peek {}')
    examining = command(scene, 'doctor', code=1)  # there are dead letters
    acting = command(
        scene,
        *('redrive {} one', 'delete --yes {} two', 'redrive {}'),
        *('purge --yes {}', 'purge --yes --dead-letters {}'),
        *('send add --args [1,2]', 'send celery.backend_cleanup'),
    )

    def others(requests: Requests, *policies: str) -> Requests:
        """Return the requests that no policy allows."""
        rights = [right for policy in policies for right in rights_of(policy)]
        return {one for one in requests if not any(allows(right, one) for right in rights)}

    creating = others(worker_creating, 'worker') | others(producer_creating, 'producer')
    assert not others(examining, 'worker')
    assert not others(acting_by_pages, 'worker', 'command', 'command-actions')
    for policy, requests in {
        'producer': producing,
        'worker': working,
        'scheduler': scheduling,
        'monitor': monitoring,
        'create-queues': creating,
        'command': looking,
        'command-actions': acting,
    }.items():
        assert not others(requests, policy), f'{policy} has too few rights'
        unused = [r for r in rights_of(policy) if not any(allows(r, one) for one in requests)]
        assert not unused, f'{policy} has too many rights'

    # The doctor looks at every right that a worker needs on its queues. Only AWS can be asked for
    # nothing when it is to receive.
    examined = {action for action, queue in examining if queue == ADD} | {'sqs:ReceiveMessage'}
    assert examined == {r[0] for r in rights_of('worker') if allows(r, (r[0], ADD))}


def test_a_scheduler_beside_a_worker_needs_no_rights_of_its_own() -> None:
    assert set(rights_of('scheduler')) < set(rights_of('worker'))


def test_the_page_tells_of_each_policy_and_fills_them_in(tmp_path: Path) -> None:
    names = {path.stem for path in FOLDER.glob('*.json')}
    assert set(re.findall(r'`([\w-]+)\.json`', README)) == names
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (command,) = re.findall(r'^sed .*$', README, re.MULTILINE)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    for name in names:
        text = (tmp_path / f'{name}.json').read_text()
        assert not re.search('REGION|ACCOUNT|prod-', text)
        assert len(json.loads(text)['Statement']) == len(
            json.loads((FOLDER / f'{name}.json').read_text())['Statement']
        )
