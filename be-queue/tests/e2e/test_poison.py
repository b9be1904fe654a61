"""Messages that a worker cannot run end in the dead-letter queue, and the worker goes on."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.integration.sending import asked
from tests.support import rejecting
from tests.support.counting import Runs
from tests.support.faulty import FaultySqs
from tests.support.own_tasks import FIFO_QUEUE
from tests.support.own_worker import own_worker
from tests.support.worker import Site

#: Longer than a test may take: nothing waits for it, and no busy machine makes a message visible.
OPTIONS: dict[str, Any] = {'wait_time_seconds': 1, 'visibility_timeout': 600}

HEADERS = {'task': 'add', 'id': 'an-id'}
ENVELOPE = {
    'body': '[[1, 2], {}, {}]',
    'headers': HEADERS,
    'content-type': 'application/json',
    'content-encoding': 'utf-8',
    'properties': {'delivery_info': {}},
}


def envelope(**changes: Any) -> str:
    return json.dumps(ENVELOPE | {name.replace('_', '-'): v for name, v in changes.items()})


#: Bodies and the reasons that their dead letters give.
POISON = {
    'hello': 'not a Celery message',
    base64.b64encode(b'\xff\xfe').decode(): 'not a Celery message',
    '{"properties": 5}': 'cannot be read: AttributeError',
    envelope(headers=['add']): 'cannot be read: AttributeError',
    envelope(headers={'task': 'add'}): 'header id is not a text: None',
    envelope(headers=HEADERS | {'timelimit': ['long', 'longer']}): 'timelimit is not two numbers',
    envelope(headers=HEADERS | {'stamped_headers': 5}): 'stamped_headers is not a list of texts',
    envelope(content_type='application/x-python-serialize'): 'ContentDisallowed',
    envelope(content_encoding=5): 'the body cannot be decoded: AttributeError',
    envelope(
        body='a', properties={'body_encoding': 'base64', 'delivery_info': {}}
    ): 'cannot be read: Error: ',
    envelope(
        headers=None, properties={'delivery_info': {'routing_key': ['no', 'text']}}
    ): 'neither its headers nor its body name a task',
    envelope(body='{'): 'the body cannot be decoded: DecodeError',
    envelope(headers=HEADERS | {'compression': 'zip'}): "cannot be unpacked: KeyError: 'zip'",
    envelope(headers=HEADERS | {'task': 'nobody.knows'}): 'unknown task: nobody.knows',
    envelope(headers=HEADERS | {'expires': 'never'}): 'refused by Celery: add',
}

CALL = {'task': 'add', 'args': [1, 2], 'kwargs': {}}
#: Old and foreign forms of task messages, by the task's id.
SOUND = {
    'v2': envelope(headers={'task': 'add', 'id': 'v2'}),
    'v2-64': base64.b64encode(envelope(headers={'task': 'add', 'id': 'v2-64'}).encode()).decode(),
    'v1': envelope(headers={}, body=json.dumps(CALL | {'id': 'v1'})),
    'rot-26': envelope(headers={'task': 'add', 'id': 'rot-26'}, content_encoding='rot-26'),
    'both': envelope(headers={'task': 'add', 'id': 'both'}, body=json.dumps(CALL)),
}


def send(sqs: SqsServer, name: str, body: str, **params: Any) -> str:
    client = sqs.client()
    url = client.get_queue_url(QueueName=name)['QueueUrl']
    message_id: str = client.send_message(QueueUrl=url, MessageBody=body, **params)['MessageId']
    return message_id


def dead_letters(sqs: SqsServer, name: str) -> list[dict[str, Any]]:
    """Take what is in the dead-letter queue of a queue."""
    client = sqs.client()
    url = client.get_queue_url(QueueName=f'err-{name}')['QueueUrl']
    found: list[dict[str, Any]] = []
    while received := client.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=['All'],
        MessageSystemAttributeNames=['All'],
    ).get('Messages'):
        found += received
    return found


def texts(letter: Mapping[str, Any]) -> dict[str, str]:
    attributes = letter['MessageAttributes']
    return {name: value['StringValue'] for name, value in attributes.items()}


def wait_settled(sqs: SqsServer, name: str) -> None:
    wait_until(lambda: sqs.visible(name) == sqs.in_flight(name) == 0, f'{name} is empty')


def test_poison_goes_to_the_dead_letter_queue_untouched_and_the_rest_is_run(
    site: Site, sqs: SqsServer, proxy: FaultySqs
) -> None:
    name = site.queue('add')
    with site.worker(
        SQS_ENDPOINT_URL=proxy.url,
        PLATFORM_QUEUE_NAME='',
        CELERY_BROKER_TRANSPORT_OPTIONS=OPTIONS,
    ) as server:
        worker, pool = server.pid_of('celery'), server.pool_pids()
        read = asked(proxy, 'GetQueueAttributes')
        mark = {'mark': {'DataType': 'String', 'StringValue': 'kept'}}
        ids = {body: send(sqs, name, body, MessageAttributes=mark) for body in POISON}
        wait_until(lambda: sqs.visible(f'err-{name}') == len(POISON), 'all are dead letters')
        wait_settled(sqs, name)
        # The redrive policy has been read before the queue was consumed.
        assert read.of(name) == []
        for body in SOUND.values():
            send(sqs, name, body)
        producer = site.producer()
        for task_id in SOUND:
            assert producer.AsyncResult(task_id).get(timeout=30) == 3
        wait_settled(sqs, name)

        letters = {letter['Body']: texts(letter) for letter in dead_letters(sqs, name)}
        assert letters.keys() == POISON.keys()
        for body, reason in POISON.items():
            assert reason in letters[body].pop('dead_letter_reason'), body
            assert letters[body] == {
                'mark': 'kept',
                'dead_letter_source': name,
                'dead_letter_message_id': ids[body],
            }
            line = f'queue={name} message_id={ids[body]} reason='
            assert server.log.count(line) == 1
        assert 'unregistered task' not in server.log
        assert (server.pid_of('celery'), server.pool_pids()) == (worker, pool)


def test_on_a_fifo_queue_poison_does_not_hold_up_its_group(
    site: Site, sqs: SqsServer, tmp_path: Path
) -> None:
    name = f'{site.username}-local-{FIFO_QUEUE}'
    runs = Runs(tmp_path / 'runs')
    # Without a policy: a worker gives it one, even without app/server.py.
    sqs.client().create_queue(QueueName=name, Attributes={'FifoQueue': 'true'})
    with own_worker(site, RUNS_FILE=runs.path, CELERY_BROKER_TRANSPORT_OPTIONS=OPTIONS):
        sound = envelope(headers={'task': 'tests.count', 'id': 'x'}, body='[[7], {}, {}]')
        unknown = envelope(headers={'task': 'nobody.knows', 'id': 'y'})
        for n, body in enumerate(('hello', unknown, sound)):
            send(sqs, name, body, MessageGroupId='a-group', MessageDeduplicationId=str(n))
        wait_until(lambda: runs.ends[7] == 1, 'the message after them is run')
        wait_until(lambda: sqs.visible(f'err-{name}') == 2, 'they are dead letters')
    first, second = dead_letters(sqs, name)
    assert first['Body'] == 'hello'
    assert texts(second)['dead_letter_reason'] == 'unknown task: nobody.knows'
    groups = [letter['Attributes']['MessageGroupId'] for letter in (first, second)]
    assert groups == ['a-group'] * 2


def test_a_task_is_tried_as_often_as_said_and_no_more(
    site: Site, sqs: SqsServer, tmp_path: Path
) -> None:
    slow, celerys = site.queue('slow'), f'{site.username}-local-celery'
    unacknowledged = {rejecting.FAILS: 2, rejecting.OUTLASTS: 2, rejecting.REJECTS: 1}
    with site.worker(
        CELERY_WORKER_CONCURRENCY=1,
        PLATFORM_QUEUE_NAME='',
        CELERY_IMPORTS=('tests.support.rejecting',),
        CELERY_BROKER_TRANSPORT_OPTIONS=OPTIONS | {'max_receives': {slow: 2, celerys: 2}},
        # A result does not keep a message that is not acknowledged from running again.
        IDEMPOTENCY_GUARD='true',
    ) as server:

        def started() -> float:
            return server.metric('worker_tasks_count_total', state='STARTED', name='slow')

        producer = site.producer()
        # It kills its child.
        result = producer.send_task('slow', (600,))
        for attempt in (1, 2):
            wait_until(lambda attempt=attempt: started() == attempt, f'attempt {attempt} runs')
            (child,) = server.pool_pids()
            os.kill(child, signal.SIGKILL)
            wait_until(lambda child=child: server.pool_pids() not in ([], [child]), 'a new child')
        wait_until(lambda: sqs.visible(f'err-{slow}') == 1, 'it is a dead letter')
        assert started() == 2
        (letter,) = dead_letters(sqs, slow)
        assert result.id in letter['Body']
        assert 'MessageAttributes' not in letter  # SQS has moved it
        wait_settled(sqs, slow)
        assert producer.send_task('add', (1, 2)).get(timeout=30) == 3

        # They are not acknowledged on failure.
        for task in unacknowledged:
            producer.send_task(task, (str(tmp_path / task),))
        wait_until(lambda: sqs.visible(f'err-{celerys}') == 3, 'they are dead letters', timeout=60)
    runs = {task: len((tmp_path / task).read_text()) for task in unacknowledged}
    assert runs == unacknowledged
    # SQS has moved the others.
    (reason,) = [texts(each) for each in dead_letters(sqs, celerys) if 'MessageAttributes' in each]
    assert reason['dead_letter_reason'] == f'rejected by its task: {rejecting.REJECTS}'
