"""The command be-queue, on a real SQS server."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context
from click.testing import CliRunner, Result

from be_queue.cli import main
from be_queue.conf import broker_url
from be_queue.testing.waiting import wait_until
from be_queue.transport.dead_letters import REASON
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import Handler, faulty_sqs

Run = Callable[..., Result]


@pytest.fixture
def run(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    module = ModuleType('operated')
    module.app = app
    monkeypatch.setitem(sys.modules, 'operated', module)

    def run(*arguments: str, exit_code: int = 0, **kwargs: Any) -> Result:
        result = CliRunner().invoke(main, ['-A', 'operated', *arguments], **kwargs)
        assert result.exit_code == exit_code, result.output
        return result

    yield run
    module.app.close()


def send_dead_letters(scene: Scene, count: int) -> list[str]:
    """Return the ids of their tasks."""
    ids = [f'id-{number}' for number in range(count)]
    for task_id in ids:
        headers = {'task': 'work', 'id': task_id, 'argsrepr': '(1,)', 'kwargsrepr': '{}'}
        scene.client.send_message(
            QueueUrl=scene.url(f'err-{scene.work}'),
            MessageBody=json.dumps({'body': '[[1], {}, {}]', 'headers': headers}),
            MessageAttributes={
                REASON: {'DataType': 'String', 'StringValue': 'unknown task: [red]\x1b[31mwork'},
                'own': {'DataType': 'String', 'StringValue': 'kept'},
            },
        )
    return ids


def tasks_of(scene: Scene, queue: str) -> list[str]:
    """Receive and delete all messages; return the ids of their tasks."""
    found: list[str] = []
    url = scene.url(queue)
    while True:
        answer = scene.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=['All']
        )
        if not answer.get('Messages'):
            return sorted(found)
        for message in answer['Messages']:
            assert set(message['MessageAttributes']) == {'own'}
            found.append(json.loads(message['Body'])['headers']['id'])
            scene.client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])


def test_status_counts_messages_and_dead_letters(scene: Scene, app: Celery, run: Run) -> None:
    app.send_task('work')
    send_dead_letters(scene, 3)
    shown = json.loads(run('status', '--json').output)
    (work,) = (depth for depth in shown if depth['queue'] == scene.work)
    assert work == {
        'queue': scene.work,
        'visible': 1,
        'in_flight': 0,
        'delayed': 0,
        'dead_letters': 3,
    }
    assert scene.work in run('status').output


def test_status_says_which_queue_does_not_exist(scene: Scene, run: Run) -> None:
    scene.client.delete_queue(QueueUrl=scene.url(scene.celery))
    wait_until(lambda: scene.celery not in scene.names(), 'the queue is deleted')
    assert re.search(f'{scene.celery} +does not exist', run('status').output)
    shown = json.loads(run('status', '--json').output)
    assert {'queue': scene.celery, 'missing': True} in shown


def test_peek_shows_dead_letters_and_leaves_them(scene: Scene, run: Run) -> None:
    ids = send_dead_letters(scene, 12)
    letters = json.loads(run('peek', 'work', '--json').output)
    assert sorted(letter['task_id'] for letter in letters) == sorted(ids)
    assert letters[0]['args'] == '(1,) {}'
    assert scene.sqs.visible(f'err-{scene.work}') == 12
    shown = run('peek', scene.work, '-n', '1').output
    assert 'unknown task: [red]' in shown
    assert '\x1b[31m' not in shown


def test_all_dead_letters_are_redriven(scene: Scene, run: Run) -> None:
    ids = send_dead_letters(scene, 25)
    assert 'messages=25' in run('redrive', 'work').output
    assert tasks_of(scene, scene.work) == sorted(ids)
    assert scene.sqs.visible(f'err-{scene.work}') == 0


def test_chosen_dead_letters_are_redriven_and_the_others_stay(scene: Scene, run: Run) -> None:
    send_dead_letters(scene, 25)
    shown = json.loads(run('redrive', 'work', 'id-3', 'id-24', '--json').output)
    assert shown == {'queue': scene.work, 'redriven': 2}
    assert tasks_of(scene, scene.work) == ['id-24', 'id-3']
    assert scene.sqs.visible(f'err-{scene.work}') == 23
    assert 'no dead letter' in run('redrive', 'work', 'id-3', exit_code=1).output


def test_an_interrupted_redrive_loses_nothing(scene: Scene, app: Celery, run: Run) -> None:
    ids = send_dead_letters(scene, 25)
    with faulty_sqs(scene.sqs.port) as proxy:
        app.conf.broker_read_url = broker_url(proxy.url)
        proxy.fail('DeleteMessageBatch', faulty.status(400, 'AccessDenied'))
        assert 'AccessDenied' in run('redrive', 'work', exit_code=1).output
        assert scene.sqs.visible(scene.work) == 10
        assert scene.sqs.in_flight(f'err-{scene.work}') == 10
        assert scene.sqs.visible(f'err-{scene.work}') == 15
    assert set(tasks_of(scene, scene.work)) < set(ids)


def test_a_redriven_fifo_message_keeps_its_group_and_arrives_once(scene: Scene, run: Run) -> None:
    queue = scene.platform
    scene.client.send_message(
        QueueUrl=scene.url(f'err-{queue}'),
        MessageBody='x',
        MessageGroupId='one',
        MessageDeduplicationId='1',
    )
    assert 'messages=1' in run('redrive', queue).output
    answer = scene.client.receive_message(
        QueueUrl=scene.url(queue), MessageSystemAttributeNames=['All']
    )
    (message,) = answer['Messages']
    assert message['Attributes']['MessageGroupId'] == 'one'


def test_chosen_dead_letters_are_deleted(scene: Scene, run: Run) -> None:
    send_dead_letters(scene, 3)
    run('delete', 'work', 'id-1', input='n\n', exit_code=1)
    assert scene.sqs.visible(f'err-{scene.work}') == 3
    run('delete', 'work', 'id-1', '--yes')
    left = json.loads(run('peek', 'work', '--json').output)
    assert sorted(letter['task_id'] for letter in left) == ['id-0', 'id-2']


def test_a_queue_or_its_dead_letters_are_purged(scene: Scene, app: Celery, run: Run) -> None:
    app.send_task('work')
    send_dead_letters(scene, 2)
    run('purge', 'work', '--dead-letters', input='n\n', exit_code=1)
    assert scene.sqs.visible(f'err-{scene.work}') == 2
    run('purge', 'work', '--dead-letters', '--yes')
    assert scene.sqs.visible(f'err-{scene.work}') == 0
    assert scene.sqs.visible(scene.work) == 1
    run('purge', 'work', '--yes')
    assert scene.sqs.visible(scene.work) == 0


def test_a_task_is_sent(scene: Scene, run: Run) -> None:
    run('send', 'work', '--args', '[1]')
    assert scene.sqs.visible(scene.work) == 1
    assert 'must be JSON' in run('send', 'work', '--args', '1,', exit_code=2).output
    assert "did you mean 'work'" in run('send', 'wrok', exit_code=1).output


def test_a_failed_task_is_shown_and_retried(scene: Scene, app: Celery, run: Run) -> None:
    request = {'task': 'work', 'args': [1], 'kwargs': {'token': 'hunter2'}, 'retries': 2}
    context = Context(request, delivery_info={'routing_key': scene.work})
    app.backend.store_result('7', ValueError('bad'), states.FAILURE, 'Trace\n', request=context)
    shown = json.loads(run('task', '7', '--json').output)
    assert shown['state'] == 'FAILURE'
    assert shown['attempt'] == 3
    assert shown['traceback'] == 'Trace\n'
    assert 'hunter2' not in str(shown)
    assert 'ValueError: bad' in run('task', '7').output

    sent = json.loads(run('retry', '7', '--json').output)['id']
    (message,) = scene.client.receive_message(QueueUrl=scene.url(scene.work))['Messages']
    headers = json.loads(message['Body'])['headers']
    assert (headers['id'], headers['parent_id']) == (sent, '7')
    assert json.loads(message['Body'])['body'].startswith('[[1], {"token": "hunter2"}')


def test_a_task_that_did_not_fail_is_not_retried(app: Celery, run: Run) -> None:
    app.backend.store_result('8', 1, states.SUCCESS)
    assert 'has not failed: its state is SUCCESS' in run('retry', '8', exit_code=1).output
    assert 'has no result' in run('task', '9', exit_code=1).output


def test_errors_are_one_line(scene: Scene, app: Celery, run: Run) -> None:
    wrong = run('peek', 'wrong', exit_code=1).output
    assert wrong.startswith("Error: 'wrong' must be one of the queues ")
    nowhere = CliRunner().invoke(main, ['-A', 'nowhere', 'status'])
    assert nowhere.exit_code == 2
    assert "No module named 'nowhere'; name the module of your Celery app" in nowhere.output
    app.conf.broker_read_url = 'sqs://test:test@127.0.0.1:9'
    assert 'Could not connect to the endpoint' in run('status', exit_code=1).output


def test_errors_of_sending_and_of_the_result_backend_are_one_line(app: Celery, run: Run) -> None:
    app.conf.broker_write_url = 'sqs://test:test@127.0.0.1:9'
    app.conf.result_backend = 'db+sqlite:////nowhere/results.sqlite'
    assert 'Could not connect to the endpoint' in run('send', 'work', exit_code=1).output
    shown = run('task', '1', exit_code=1).output
    assert re.fullmatch('Error: OperationalError: .*: check RESULT_DB_HOST.*\n', shown)


def test_the_doctor_finds_nothing_wrong(run: Run) -> None:
    findings = json.loads(run('doctor', '--json').output)
    assert [finding['fault'] for finding in findings] == [''] * 5


def test_the_doctor_names_each_fault_and_its_fix(scene: Scene, app: Celery, run: Run) -> None:
    app.conf.result_backend = 'db+sqlite:////nowhere/results.sqlite'
    app.send_task('work')
    send_dead_letters(scene, 2)
    scene.client.set_queue_attributes(
        QueueUrl=scene.url(scene.work),
        Attributes={'RedrivePolicy': scene.policy(f'err-{scene.work}', 9)},
    )
    scene.client.delete_queue(QueueUrl=scene.url(scene.celery))
    shown = run('doctor', exit_code=1).output
    assert 'SQS: ok' in shown
    assert f'{scene.work}: 2 dead letters: be-queue peek {scene.work} shows why' in shown
    assert f'{scene.work}: 1 messages wait and none is in flight: start a worker' in shown
    assert f'{scene.platform}: 1 messages wait and none is in flight: start the monitor' in shown
    assert 'maxReceiveCount 9' in shown
    assert f'queue {scene.celery!r} does not exist on SQS' in shown
    assert 'result backend: OperationalError' in shown


def test_the_doctor_says_how_far_the_clock_is_off(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = time.time() - 120
    monkeypatch.setattr('be_queue.operations.time.time', lambda: behind)
    assert re.search(
        r'clock: this machine is 1[12]\d s behind SQS', run('doctor', exit_code=1).output
    )


def test_the_doctor_goes_on_when_sqs_is_unavailable(app: Celery, run: Run) -> None:
    app.conf.broker_read_url = 'sqs://test:test@127.0.0.1:9'
    shown = run('doctor', exit_code=1).output
    assert re.search('SQS: EndpointConnectionError: .*: check SQS_ENDPOINT_URL', shown)
    assert 'result backend: ok' in shown


def test_sqs_moves_the_messages_where_it_can(scene: Scene, app: Celery, run: Run) -> None:
    """As AWS answers; the servers for tests cannot do it."""
    looks = iter([('RUNNING', 4), ('COMPLETED', 7)])

    def start(handler: Handler) -> None:
        assert json.loads(handler.body)['DestinationArn'].endswith(f':{scene.work}')
        handler.answer(200, b'{"TaskHandle": "x"}')

    def look(handler: Handler) -> None:
        status, moved = next(looks)
        task = {'Status': status, 'ApproximateNumberOfMessagesMoved': moved}
        handler.answer(200, json.dumps({'Results': [task]}).encode())

    with faulty_sqs(scene.sqs.port) as proxy:
        app.conf.broker_read_url = broker_url(proxy.url)
        proxy.fail('StartMessageMoveTask', start)
        proxy.fail('ListMessageMoveTasks', look)
        assert 'messages=7' in run('redrive', 'work').output
