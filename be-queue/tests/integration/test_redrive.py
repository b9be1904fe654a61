"""Dead-letter queues and redrive policies: created, repaired and verified, on real SQS."""

from __future__ import annotations

import logging

import pytest
from celery import Celery

from be_queue.testing.sqs import REGION
from be_queue.transport.redrive import RETENTION_SECONDS, RedriveError
from be_queue.worker.preflight import declare_queues
from be_queue.worker.start_error import StartError
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs

DENIED = faulty.status(403, 'AccessDeniedException')


def test_each_queue_is_made_with_its_dead_letter_queue_and_policy(scene: Scene) -> None:
    attributes = {'KmsMasterKeyId': 'alias/aws/sqs', 'DelaySeconds': '7'}
    scene.declare(scene.app(**{'sqs-creation-attributes': attributes, 'queue_tags': {'a': 'b'}}))

    for name, receives in ((scene.work, 3), (scene.celery, 10), (scene.platform, 10)):
        assert scene.redrive(name) == (f'err-{name}', receives)
        dead = scene.attributes(f'err-{name}')
        assert dead['MessageRetentionPeriod'] == str(RETENTION_SECONDS)
        assert dead.get('FifoQueue') == ('true' if name == scene.platform else None)
        assert 'RedrivePolicy' not in dead
        assert (scene.attributes(name)['DelaySeconds'], dead['DelaySeconds']) == ('7', '0')
        for each in (name, f'err-{name}'):
            assert scene.attributes(each)['KmsMasterKeyId'] == 'alias/aws/sqs'
            assert scene.client.list_queue_tags(QueueUrl=scene.url(each))['Tags'] == {'a': 'b'}
    assert scene.attributes(scene.platform)['FifoThroughputLimit'] == 'perMessageGroupId'
    assert scene.attributes(scene.platform)['DeduplicationScope'] == 'messageGroup'
    assert len(scene.names()) == 6


def test_a_policy_among_the_creation_attributes_is_left_alone(scene: Scene) -> None:
    scene.make(f'{scene.prefix}-own')
    policy = scene.policy(f'{scene.prefix}-own', 7)
    app = scene.app(**{'sqs-creation-attributes': {'RedrivePolicy': policy}})
    with app.connection_for_write() as connection:
        connection.default_channel.queue_declare(scene.work)
        connection.default_channel.redrive.ensure(scene.work)

    assert scene.names() == {scene.work, f'{scene.prefix}-own'}
    assert scene.redrive(scene.work) == (f'{scene.prefix}-own', 7)


def test_a_queue_that_another_process_has_just_made_is_used(scene: Scene) -> None:
    app = scene.app()
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        url = scene.make(scene.work, VisibilityTimeout='77')
        made = channel._create_queue(scene.work, {'VisibilityTimeout': '1800'})
    assert made['QueueUrl'] == url


def test_a_producer_leaves_a_queue_as_it_is_and_can_purge_it(scene: Scene) -> None:
    scene.make(scene.work)
    app = scene.app()
    for _ in range(3):
        app.send_task('work')
    assert scene.redrive(scene.work) is None
    assert scene.sqs.visible(scene.work) == 3
    with app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(scene.work) == 3
    assert scene.sqs.visible(scene.work) == 0


def test_at_the_start_queues_of_older_tools_get_their_policy_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.make(scene.work)
    scene.make(scene.platform, FifoQueue='true')
    with caplog.at_level(logging.INFO, 'be_queue'):
        for _ in range(2):
            declare_queues(scene.app())

    for name, receives in ((scene.work, 3), (scene.platform, 10)):
        assert scene.redrive(name) == (f'err-{name}', receives)
        assert caplog.text.count(f'redrive policy set: queue={name} ') == 1


def test_without_creation_missing_queues_stop_the_start_with_a_line_each(scene: Scene) -> None:
    with pytest.raises(StartError) as error:
        declare_queues(scene.app(create_queues=False))

    *lines, last = str(error.value).splitlines()
    assert len(lines) == 3  # and Celery's own and the platform's
    (line,) = (line for line in lines if line.startswith(f"queue '{scene.work}' does not exist"))
    assert f'maxReceiveCount 3 to err-{scene.work}' in line
    assert 'SQS_CREATE_QUEUES=true' in last
    with pytest.raises(RedriveError, match='does not exist on SQS'):
        scene.app(create_queues=False).send_task('work')
    assert scene.names() == set()


def test_without_creation_no_permission_to_list_create_or_describe_is_needed(
    scene: Scene, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    scene.declare(scene.app())
    app = scene.app(proxy.url, create_queues=False)
    for operation in ('ListQueues', 'CreateQueue', 'SetQueueAttributes', 'GetQueueAttributes'):
        proxy.fail(operation, DENIED)
    declare_queues(app)
    app.send_task('work')

    assert scene.sqs.visible(scene.work) == 1
    assert proxy.requests['ListQueues'] == proxy.requests['CreateQueue'] == 0
    assert proxy.requests['SetQueueAttributes'] == 0
    assert 'SQS denies GetQueueAttributes' in caplog.text


@pytest.mark.parametrize('operation', ['GetQueueAttributes', 'SetQueueAttributes', 'CreateQueue'])
def test_a_policy_that_may_not_be_repaired_is_a_warning(
    scene: Scene, proxy: FaultySqs, caplog: pytest.LogCaptureFixture, operation: str
) -> None:
    scene.make(scene.work)
    scene.make(scene.platform, FifoQueue='true')
    proxy.fail(operation, DENIED)
    scene.ensure(scene.app(proxy.url), scene.work, scene.platform)
    (line,) = caplog.messages
    assert f'queue={scene.work} expected=maxReceiveCount 3 to err-{scene.work}' in line
    assert f'{operation} operation' in line


def test_a_dead_letter_queue_that_may_not_be_made_is_an_error_with_the_fix(
    scene: Scene, proxy: FaultySqs
) -> None:
    proxy.fail('CreateQueue', DENIED)
    with pytest.raises(RedriveError, match='allow sqs:GetQueueUrl and sqs:CreateQueue on it'):
        scene.declare(scene.app(proxy.url))


@pytest.mark.parametrize('found', [None, ('err', 5), ('other', 3)])
def test_another_policy_is_a_difference_with_the_fix_and_is_brought_in_line(
    scene: Scene, caplog: pytest.LogCaptureFixture, found: tuple[str, int] | None
) -> None:
    if found is None:
        url = scene.make(scene.work)
        said = 'no redrive policy'
    else:
        target, count = f'{found[0]}-{scene.work}', found[1]
        url = scene.make_both(count, target)
        said = f'maxReceiveCount {count} to arn:aws:sqs:{REGION}:000000000000:{target}'
    (line,) = scene.differences(scene.app(create_queues=False))
    expected = f'maxReceiveCount 3 to arn:aws:sqs:{REGION}:000000000000:err-{scene.work}'
    assert line.startswith(f"queue '{scene.work}' has {said}, expected {expected}")
    assert f': aws sqs set-queue-attributes --queue-url {url} --attributes ' in line
    assert ('or expect' in line) == (found == ('err', 5))
    assert (found and scene.redrive(scene.work)) == (found and (target, count))

    with caplog.at_level(logging.INFO, 'be_queue'):
        scene.ensure(scene.app())
    assert scene.redrive(scene.work) == (f'err-{scene.work}', 3)
    assert scene.differences(scene.app(create_queues=False)) == []
    (line,) = caplog.messages
    if found is None:
        assert line == f'redrive policy set: queue={scene.work} policy={expected}'
    else:
        changed = f'redrive policy changed: queue={scene.work} old={said} new={expected};'
        assert line.startswith(changed)


def test_without_a_mapping_a_policy_that_is_there_stays(scene: Scene) -> None:
    scene.make_both(5, f'own-{scene.work}')
    scene.make(scene.celery)
    for create_queues in (False, True):
        app = scene.app(create_queues=create_queues)
        del app.conf.broker_transport_options['max_receives']
        assert scene.differences(app) == []
        assert len(scene.differences(app, scene.celery)) == 1
        scene.ensure(app, scene.work, scene.celery)

    assert scene.redrive(scene.work) == (f'own-{scene.work}', 5)
    assert scene.redrive(scene.celery) == (f'err-{scene.celery}', 10)
    assert f'err-{scene.work}' not in scene.names()


def test_a_count_that_is_named_as_the_fix_works_as_one(scene: Scene) -> None:
    name = scene.celery  # in no mapping
    scene.make(f'err-{name}')
    scene.make(name, RedrivePolicy=scene.policy(f'err-{name}', 4))
    (line,) = scene.differences(scene.app(create_queues=False), name)
    setting = f"broker_transport_options={{'max_receives': {{'{name}': 4}}}}"
    assert line.endswith(f', or expect {setting}')

    app = scene.app(create_queues=False, max_receives={name: 4})
    assert scene.differences(app, name) == []
    # The mapping's own still hold.
    assert app.conf.broker_transport_options['max_receives'] == {scene.work: 3, name: 4}


def test_a_connection_shows_that_sqs_is_away_with_and_without_creation(
    scene: Scene, proxy: FaultySqs
) -> None:
    proxy.fail('*', faulty.status(503, 'ServiceUnavailable'))
    once = {'client-config': {'retries': {'total_max_attempts': 1}}}
    for options in ({}, {'create_queues': False}):
        with (
            pytest.raises(Exception, match=r'503|ServiceUnavailable'),
            scene.app(proxy.url, **options, **once).connection_for_read() as connection,
        ):
            connection.connect()


def predefined(scene: Scene, **entry: str) -> Celery:
    return scene.app(predefined_queues={scene.work: {'url': scene.url(scene.work)} | entry})


def test_predefined_queues_are_compared_with_what_their_entry_says(scene: Scene) -> None:
    scene.make_both(3, f'other-{scene.work}')
    assert scene.differences(predefined(scene)) == []
    dead = scene.url(f'other-{scene.work}')
    assert scene.differences(predefined(scene, dead_letter_url=dead)) == []

    scene.make(f'err-{scene.work}')
    dead = scene.url(f'err-{scene.work}')
    (line,) = scene.differences(predefined(scene, dead_letter_url=dead))
    assert f':other-{scene.work}, expected maxReceiveCount 3 to arn:' in line

    (line,) = scene.differences(predefined(scene), 'another')
    assert line == "queue 'another' is not in predefined_queues: add it, with its url"


def test_a_predefined_queue_may_do_without_a_policy_and_is_never_changed(scene: Scene) -> None:
    scene.make(scene.work)
    (line,) = scene.differences(predefined(scene))
    assert line.endswith("or say 'dead_letter_url': '' to do without")
    assert scene.differences(predefined(scene, dead_letter_url='')) == []
    scene.ensure(predefined(scene))
    assert scene.redrive(scene.work) is None
