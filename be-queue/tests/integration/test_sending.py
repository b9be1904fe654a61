"""A producer on this transport, on a real SQS server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from kombu.exceptions import OperationalError

from be_queue import MessageTooLargeError, NotSentError
from be_queue.testing.waiting import wait_until
from tests.integration.sending import (
    Site,
    asked,
    first,
    forward,
    only,
    proxy,
    server,
    site,
    tries,
)
from tests.support.faulty import FaultySqs, Handler, answer_lost, no_answer, reset, status

__all__ = ['proxy', 'server', 'site']


def test_the_queues_of_a_task_are_sent_to_side_by_side(site: Site, proxy: FaultySqs) -> None:
    both = threading.Barrier(2, timeout=10)

    def together(handler: Handler) -> None:
        both.wait()  # breaks, and with it the request, when the other does not come
        forward(handler)

    app = site.app(proxy.url)
    app.send_task('work', (1,))
    proxy.fail('SendMessage', together)
    app.send_task('work', (2,))

    assert site.args(site.work) == site.args(site.platform) == [[1], [2]]


@pytest.mark.parametrize(('fails', 'has'), [('platform', 'work'), ('work', 'platform')])
def test_an_error_says_which_queue_has_the_message_and_which_has_not(
    site: Site, proxy: FaultySqs, fails: str, has: str
) -> None:
    fails, has = getattr(site, fails), getattr(site, has)
    proxy.fail('SendMessage', only(fails, status(403, 'AccessDenied')))
    with pytest.raises(NotSentError, match='on purpose') as error:
        site.app(proxy.url).send_task('work', (1,), task_id='the-id')

    assert (error.value.task, error.value.task_id) == ('work', 'the-id')
    assert (list(error.value.sent), list(error.value.failed)) == ([has], [fails])
    assert site.args(has) == [[1]]
    assert site.args(fails) == []


@pytest.mark.parametrize('platform', ['', 'platform.fifo'])
def test_a_task_that_no_queue_takes_is_an_error(site: Site, platform: str) -> None:
    app = site.app(platform=platform)
    app.send_task('work', (1,))  # all is declared

    for options in ({'exchange': 'task_exchange'}, {}):
        with pytest.raises(NotSentError, match='no queue is bound') as error:
            app.send_task('work', (2,), routing_key='nowhere', **options)
        assert error.value.sent == []

    for queue in (site.work, site.platform) if platform else (site.work,):
        assert site.args(queue) == [[1]]


def test_a_task_may_be_sent_to_the_platform_queue_on_purpose(site: Site) -> None:
    app = site.app()
    app.send_task('work', (1,), queue=site.platform)
    app.send_task('work', (2,), exchange='', routing_key=site.platform)
    app.send_task('work', (3,), exchange='task_exchange', routing_key='#')
    assert site.args(site.platform) == [[1], [2], [3]]


def test_a_delay_is_for_the_work_queue_and_the_senders_own_comes_first(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy)
    app = site.app(proxy.url, platform='platform')

    app.send_task('work', countdown=100)
    app.send_task('work', countdown=100, DelaySeconds=5)
    app.send_task('work')
    app.send_task('ordered', countdown=100)

    late, own, soon = (request.get('DelaySeconds', 0) for request in sent.of(site.work))
    assert 60 < late <= 100
    assert (own, soon) == (5, 0)
    for queue in (site.fifo, f'{site.env}-platform'):
        assert 'DelaySeconds' not in sent.of(queue)[0]


def test_each_predefined_queue_is_sent_to_with_its_own_login(site: Site, proxy: FaultySqs) -> None:
    logins: dict[str, str] = {}

    def keep(handler: Handler) -> None:
        queue = json.loads(handler.body)['QueueUrl'].rpartition('/')[2]
        logins[queue] = handler.headers['Authorization'].partition('Credential=')[2].split('/')[0]
        forward(handler)

    proxy.fail('SendMessage', keep)
    predefined = {
        queue: {'url': site.create(queue), 'access_key_id': key, 'secret_access_key': 'secret'}
        for queue, key in [(site.work, 'worker'), (site.platform, 'observer')]
    }
    app = site.app(proxy.url, broker_transport_options={'predefined_queues': predefined})

    app.send_task('work')

    assert logins == {site.work: 'worker', site.platform: 'observer'}


def test_a_message_over_the_limit_is_refused_before_anything_is_sent(site: Site) -> None:
    url = site.create(site.work, MaximumMessageSize=4096)
    app = site.app()
    app.send_task('work', ('a' * 2000,))
    (message,) = site.messages(site.work)
    longest = 2000 + 4096 - len(message['Body'])
    site.messages(site.platform)

    app.send_task('work', ('a' * longest,))
    task_id = str(uuid.uuid4())
    with pytest.raises(MessageTooLargeError) as error:
        app.send_task('work', ('a' * (longest + 1),), task_id=task_id)

    assert len(site.messages(site.work)) == len(site.messages(site.platform)) == 1
    assert (error.value.size, error.value.limit) == (4097, 4096)
    assert (error.value.task, error.value.queue) == ('work', site.work)
    assert f"'work' {task_id}: its message has 4097 bytes" in str(error.value)

    raised = {'MaximumMessageSize': '8192'}
    site.sqs.client().set_queue_attributes(QueueUrl=url, Attributes=raised)
    app.send_task('work', ('a' * (longest + 1),))
    assert len(site.messages(site.work)) == 1


def test_text_is_sent_as_it_is_and_base64_where_asked_for(site: Site) -> None:
    text = 'a' * 10_000
    for asked_for, times in ((False, 1), (True, 0)):
        options = {'sqs_base64_encoding': asked_for}
        site.app(broker_transport_options=options).send_task('work', (text,))
        (message,) = site.messages(site.work)
        assert message['Body'].count(text) == times


def test_message_attributes_count_and_reach_every_queue(site: Site, proxy: FaultySqs) -> None:
    site.create(site.work, MaximumMessageSize=4096)
    sent = asked(proxy)
    attribute = {'tenant': {'DataType': 'String', 'StringValue': 'a'}}
    app = site.app(proxy.url)

    app.send_task('work', message_attributes=attribute)
    assert len(sent.requests) == 2
    for request in sent.requests:
        assert request['MessageAttributes'] == attribute
        assert 'message_attributes' not in request['MessageBody']
    attribute['tenant']['StringValue'] = 'a' * 4000
    with pytest.raises(MessageTooLargeError):
        app.send_task('work', message_attributes=attribute)


def test_a_message_is_tried_as_often_as_boto3_tries_it(site: Site, proxy: FaultySqs) -> None:
    app = site.app(proxy.url, broker_transport_options=tries(2))
    app.send_task('work', (1,))
    before = proxy.requests['SendMessage']
    proxy.fail('SendMessage', answer_lost)

    with pytest.raises(OperationalError) as error:
        app.send_task('work', (2,))

    assert isinstance(error.value.__cause__, BotoCoreError)
    assert proxy.requests['SendMessage'] - before == 2 * 2  # two queues
    assert sorted(site.args(site.work)) == [[1], [2], [2]]


@pytest.mark.parametrize(
    'fault',
    [
        first(2, status(503, 'ServiceUnavailable')),
        first(1, status(400, 'RequestThrottled')),
        first(1, reset),
        first(1, answer_lost),
    ],
    ids=['unavailable twice', 'throttled', 'reset', 'answer lost'],
)
def test_a_request_that_is_sent_again_is_one_message_on_a_fifo_queue(
    site: Site, proxy: FaultySqs, fault: Any
) -> None:
    proxy.fail('SendMessage', fault)
    site.app(proxy.url).send_task('ordered', (1,))
    assert proxy.requests['SendMessage'] >= 4
    assert site.args(site.fifo) == site.args(site.platform) == [[1]]


def test_the_same_call_under_one_id_is_taken_only_once(site: Site) -> None:
    app = site.app(platform=False)

    def send(task: str, number: int, **options: Any) -> None:
        where = {'exchange': 'task_exchange', 'routing_key': site.fifo}
        app.send_task(task, (number,), task_id='the-id', **where, **options)

    send('ordered', 1)
    send('ordered', 1)
    send('ordered', 1, retries=1, countdown=1)
    send('ordered', 1, retries=1, countdown=2)
    send('ordered', 2)
    send('other', 1)
    send('ordered', 1, replaced_task_nesting=1)
    send('ordered', 1, MessageDeduplicationId='on purpose')

    assert len(site.messages(site.fifo)) == 6


def test_groups_are_by_task_on_its_queue_and_by_id_on_the_platform_queue(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy)
    app = site.app(proxy.url)

    app.send_task('ordered', task_id='the-id')
    app.send_task('work', task_id='é' * 200)
    app.send_task('ordered', MessageGroupId='mine', MessageDeduplicationId='once')
    app.send_task('work', MessageGroupId='tenant')

    named, mine = sent.of(site.fifo)
    assert named['MessageGroupId'] == 'ordered'
    assert named['MessageDeduplicationId'].startswith('the-id:0:')
    assert (mine['MessageGroupId'], mine['MessageDeduplicationId']) == ('mine', 'once')
    by_id, hashed, mine, tenant = sent.of(site.platform)
    assert by_id['MessageGroupId'] == 'the-id'
    assert hashed['MessageGroupId'].isalnum()
    assert (mine['MessageGroupId'], mine['MessageDeduplicationId']) == ('mine', 'once')
    assert tenant['MessageGroupId'] == 'tenant'
    plain, fair = sent.of(site.work)
    assert 'MessageGroupId' not in plain
    assert fair['MessageGroupId'] == 'tenant'
    assert 'MessageDeduplicationId' not in fair


PRODUCER = """
import signal

from celery import Celery

from be_queue import Config, send_batch

# A shell has its jobs in the background ignore it, and with them these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
app = Celery()
app.config_from_object(Config(['work'], SQS_ENDPOINT_URL='{url}', QUEUE_NAME_PREFIX='{env}'))
{send}
"""


@pytest.mark.parametrize(
    ('operation', 'send'),
    [
        ('SendMessage', "app.send_task('work.one')"),
        ('SendMessageBatch', "send_batch(app, [app.signature('work.one')])"),
    ],
)
def test_a_request_without_an_answer_does_not_keep_a_process_from_ending(
    site: Site, proxy: FaultySqs, operation: str, send: str
) -> None:
    proxy.fail(operation, no_answer)
    program = PRODUCER.format(url=proxy.url, env=site.env, send=send)
    with subprocess.Popen([sys.executable, '-c', program], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: proxy.requests[operation] == 2, 'both queues are asked')
            process.send_signal(signal.SIGINT)
            # boto3 would try for 50 seconds.
            assert process.wait(timeout=20) == -signal.SIGINT
        finally:
            process.kill()


def test_what_a_killed_producer_has_sent_is_there(site: Site) -> None:
    each = "for n in range(10_000): app.send_task('work.one', (n,)); print(n, flush=True)"
    program = PRODUCER.format(url=site.sqs.url, env=site.env, send=each)
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        confirmed += map(int, process.stdout)
    sent = sorted(number for (number,) in site.args(f'{site.env}-work'))
    # The one that it was sending may be there as well.
    assert sent in (confirmed, [*confirmed, len(confirmed)])
