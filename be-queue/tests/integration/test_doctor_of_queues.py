"""The checks of `be-queue doctor` of SQS, the queues and the results, on a real SQS server."""

from __future__ import annotations

import json
import re
import time

import pytest
from celery import Celery

from be_queue.conf import broker_url
from tests.integration.operating import Run, send_dead_letters
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import faulty_sqs


def test_the_doctor_finds_nothing_wrong(scene: Scene, run: Run) -> None:
    findings = json.loads(run('doctor', '--json').output)
    assert [finding['fault'] for finding in findings] == [''] * 6
    assert scene.sqs.visible(scene.work) == 0


def test_the_doctor_names_the_rights_that_are_missing(
    scene: Scene, app: Celery, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.send_task('work')
    monkeypatch.setattr('be_queue.operations.ManagedQueue._is_aws', True)
    app.conf.checks = lambda app: []  # as a worker's
    with faulty_sqs(scene.sqs.port) as proxy:
        app.conf.broker_read_url = broker_url(proxy.url)
        shown = json.loads(run('doctor', '--json', exit_code=1).output)
        assert 'SQS refuses' not in str(shown)
        assert scene.sqs.visible(scene.work) == 1
        for operation in (*faulty.RECEIVE, *faulty.DELETE, *faulty.SEND, *faulty.VISIBILITY):
            proxy.fail(operation, faulty.status(400, 'AccessDeniedException'))
        shown = run('doctor', exit_code=1).output
        actions = 'sqs:SendMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:Receive'
        assert f'{scene.work}: SQS refuses {actions}' in shown
        # The monitor receives from there, which may have a role of its own.
        assert f'{scene.platform}: SQS refuses sqs:SendMessage to these credentials' in shown
    # Shown as often before as without the doctor.
    (message,) = scene.client.receive_message(
        QueueUrl=scene.url(scene.work), MessageSystemAttributeNames=['ApproximateReceiveCount']
    )['Messages']
    assert message['Attributes']['ApproximateReceiveCount'] == '1'


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
