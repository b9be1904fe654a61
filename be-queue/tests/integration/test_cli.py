"""The command be-queue, on a real SQS server."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery, states
from celery.app.task import Context
from click.testing import CliRunner

from be_queue import dead_letter_queue
from be_queue.cli import main
from be_queue.cli.group import version
from be_queue.conf import broker_url
from be_queue.testing.waiting import wait_until
from be_queue.worker.history import engine_of, migrate, save
from tests.integration.operating import Run, send_dead_letters
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import Handler, faulty_sqs
from tests.support.process import Program, running

Command = Callable[..., AbstractContextManager[Program]]

#: As the script that pip installs, for an app of its own.
PROGRAM = """
import sys
from celery import Celery
from be_queue import Config, Queue, Queues, cli, dead_letter_queue

dead_letter_queue.HIDDEN_SECONDS = 5
prefix, url = sys.argv[1:3]
queues = Queues([Queue(queue_name='work', task='work')]).build_celery('local', username=prefix)
app = Celery()
app.config_from_object(Config(queues, SQS_ENDPOINT_URL=url))
cli.main(['-A', '__main__', *sys.argv[3:]])
"""


@pytest.fixture
def command(scene: Scene, tmp_path: Path) -> Command:
    """Runs the command in a process of its own."""

    def command(*arguments: str, url: str = scene.sqs.url) -> AbstractContextManager[Program]:
        program = ('-c', PROGRAM, scene.prefix, url)
        return running((*program, *arguments), {}, tmp_path / f'{arguments[0]}-{uuid4()}.log')

    return command


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


def test_watch_prints_a_line_of_json_for_each_look(
    scene: Scene, app: Celery, command: Command
) -> None:
    with command('watch', '--json', '--interval', '0.05') as program:
        wait_until(lambda: program.log.count('\n') >= 2, 'it has looked twice')
        assert program.ends(signal.SIGINT, timeout=60) == 0
    first, second = (json.loads(line) for line in program.log.splitlines()[:2])
    assert first['time'] < second['time']
    assert [depth['queue'] for depth in second['queues']] == [
        scene.celery,
        scene.platform,
        scene.work,
    ]


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


def test_a_redrive_that_is_killed_is_taken_up_again(
    scene: Scene, app: Celery, command: Command
) -> None:
    """It is killed at the worst moment: after a batch is sent, and before that is deleted."""
    ids = send_dead_letters(scene, 300)
    dead = f'err-{scene.work}'
    with faulty_sqs(scene.sqs.port) as proxy:

        def after_some(handler: Handler) -> None:
            if proxy.requests['DeleteMessageBatch'] <= 12:
                handler.answer(*handler.forward())
            else:
                faulty.no_answer(handler)

        proxy.fail('DeleteMessageBatch', after_some)
        with command('redrive', 'work', url=proxy.url) as program:
            wait_until(lambda: scene.sqs.visible(scene.work) == 130, '13 batches sent', timeout=60)
            program.ends(signal.SIGKILL)
    wait_until(lambda: scene.sqs.visible(dead) == 180, 'the rest is there again', timeout=60)
    with command('redrive', 'work', '--json') as program:
        assert program.ends(timeout=60) == 0
    assert json.loads(program.log) == {'queue': scene.work, 'redriven': 180}
    assert scene.is_empty(dead)
    arrived = Counter(tasks_of(scene, scene.work))
    assert set(arrived) == set(ids)
    assert arrived.total() == 310


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


def test_a_task_that_waits_is_shown_from_the_history(app: Celery, run: Run) -> None:
    migrate(app)
    sent_at = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
    failed = {'attempt': 1, 'exception': 'TimeoutError'}
    row = {
        **{'task_id': '10', 'name': 'work', 'queue': 'q', 'args': "('a.png',)", 'kwargs': '{}'},
        **{'retries': 1, 'parent_id': '5', 'sent_at': sent_at, 'seen_at': sent_at},
        'earlier_attempts': [{'data': failed, 'timestamp': '2026-11-29T12:00:05+00:00'}],
    }
    engine = engine_of(app)
    save(engine, [row])
    engine.dispose()
    shown = json.loads(run('task', '10', '--json').output)
    assert (shown['state'], shown['queue'], shown['attempt']) == ('PENDING', 'q', 2)
    assert (shown['parent_id'], shown['sent_at']) == ('5', str(sent_at))
    assert shown['earlier_attempts'][0]['exception'] == 'TimeoutError'
    assert re.search(
        'attempt 1: +TimeoutError, ended 2026-11-29 12:00:05', run('task', '10').output
    )

    # Once there is a result, that tells more.
    context = Context({'task': 'work', 'args': [1], 'kwargs': {}, 'retries': 1})
    app.backend.store_result('10', 3, states.SUCCESS, request=context)
    shown = json.loads(run('task', '10', '--json').output)
    assert (shown['state'], shown['args'], shown['result']) == ('SUCCESS', [1], 3)
    assert shown['parent_id'] == '5'


def test_a_task_that_did_not_fail_is_not_retried(app: Celery, run: Run) -> None:
    app.backend.store_result('8', 1, states.SUCCESS)
    assert 'has not failed: its state is SUCCESS' in run('retry', '8', exit_code=1).output
    assert 'has no result' in run('task', '9', exit_code=1).output


def test_the_version_is_unknown_where_only_the_folder_was_copied_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert version() != 'unknown'
    monkeypatch.setattr(sys, 'path', [])
    assert version() == 'unknown'


def test_each_command_has_an_example_and_needs_no_app_for_its_help() -> None:
    for name in main.commands:
        shown = CliRunner().invoke(main, ['-A', 'nowhere', name, '--help'])
        assert shown.exit_code == 0
        assert re.search(rf'Example: be-queue (-A \S+ )?{name}', shown.output), name


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


#: Looks at a move that runs already, and at one that somebody cancels.
FOLLOWED = [('RUNNING', 8), ('RUNNING', 8), ('COMPLETED', 9), ('RUNNING', 1), ('CANCELLED', 1)]


def test_sqs_moves_the_messages_where_it_can(
    scene: Scene, app: Celery, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS answers; the servers for tests cannot do it."""
    monkeypatch.setattr(dead_letter_queue, 'MOVE_INTERVAL', 0.01)
    started = []
    looks = iter([('COMPLETED', 3), ('RUNNING', 4), ('COMPLETED', 7), *FOLLOWED])

    def start(handler: Handler) -> None:
        assert json.loads(handler.body)['DestinationArn'].endswith(f':{scene.work}')
        started.append(1)
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
        assert len(started) == 1
        # SQS starts no second move of a queue: the first is followed.
        assert 'messages=9' in run('redrive', 'work').output
        assert 'stopped moving messages: CANCELLED' in run('redrive', 'work', exit_code=1).output
        assert len(started) == 1
