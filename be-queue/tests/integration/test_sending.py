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

from be_queue import MessageTooLargeError, NotSentError, send_batch
from be_queue.testing.waiting import wait_until
from be_queue.transport.batch import MAX_FAILURES, MAX_IN_FLIGHT
from tests.integration.sending import (
    Site,
    asked,
    before_each_publish,
    calls,
    errors,
    only,
    proxy,
    server,
    site,
)
from tests.support.faulty import FaultySqs, Handler, answer_lost, no_answer, reset, status

__all__ = ['proxy', 'server', 'site']


def test_the_queues_of_a_task_are_sent_to_side_by_side(site: Site, proxy: FaultySqs) -> None:
    both = threading.Barrier(2, timeout=10)

    def together(handler: Handler) -> None:
        both.wait()  # breaks, and with it the request, when the other does not come
        handler.answer(*handler.forward())

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
    assert list(error.value.sent) == [has]
    assert list(error.value.failed) == [fails]
    assert site.args(has) == [[1]]
    assert site.args(fails) == []


@pytest.mark.parametrize('platform', [False, True])
@pytest.mark.parametrize('options', [{'exchange': 'task_exchange'}, {}], ids=['exchange', 'queue'])
def test_a_task_that_no_queue_takes_is_an_error(
    site: Site, platform: bool, options: dict[str, str]
) -> None:
    app = site.app(platform=platform)
    app.send_task('work', (1,))  # all is declared

    with pytest.raises(NotSentError, match='no queue is bound') as error:
        app.send_task('work', (2,), routing_key='nowhere', **options)

    assert error.value.sent == []
    for queue in (site.work, site.platform) if platform else (site.work,):
        assert site.args(queue) == [[1]]


@pytest.mark.parametrize('form', ['queue', 'name', 'key'])
def test_a_task_may_be_sent_to_the_platform_queue_on_purpose(site: Site, form: str) -> None:
    options = {
        'queue': {'queue': site.platform},
        'name': {'exchange': '', 'routing_key': site.platform},
        'key': {'exchange': 'task_exchange', 'routing_key': '#'},
    }[form]

    site.app().send_task('work', (1,), **options)

    assert site.args(site.platform) == [[1]]


def test_a_delay_is_for_the_work_queue_and_the_senders_own_comes_first(
    site: Site, proxy: FaultySqs
) -> None:
    sent = asked(proxy)
    app = site.app(proxy.url, PLATFORM_QUEUE_NAME='')

    app.send_task('work', countdown=100)
    app.send_task('work', countdown=100, DelaySeconds=5)
    app.send_task('work')
    app.send_task('ordered', countdown=100)
    app.send_task('ordered', DelaySeconds=5)

    late, own, soon = (request.get('DelaySeconds', 0) for request in sent.of(site.work))
    assert 60 < late <= 100
    assert (own, soon) == (5, 0)
    assert all('DelaySeconds' not in request for request in sent.of(site.fifo))


def test_the_copy_for_the_platform_is_not_delayed(site: Site, proxy: FaultySqs) -> None:
    sent = asked(proxy)
    app = site.app(proxy.url)
    app.conf.QUEUES.build_celery(site.env, platform_queue_name='platform')
    app.conf.task_queues = app.conf.QUEUES.celery_task_queues()

    app.send_task('work', countdown=100)

    assert 'DelaySeconds' in sent.of(site.work)[0]
    assert 'DelaySeconds' not in sent.of(f'{site.env}-platform')[0]


def test_each_predefined_queue_is_sent_to_with_its_own_login(site: Site, proxy: FaultySqs) -> None:
    logins: dict[str, str] = {}

    def keep(handler: Handler) -> None:
        queue = json.loads(handler.body)['QueueUrl'].rpartition('/')[2]
        logins[queue] = handler.headers['Authorization'].partition('Credential=')[2].split('/')[0]
        handler.answer(*handler.forward())

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
    longest = 2000
    app.send_task('work', ('a' * longest,))
    (message,) = site.messages(site.work)
    longest += 4096 - len(message['Body'])
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
    for request in (*sent.of(site.work), *sent.of(site.platform)):
        assert request['MessageAttributes'] == attribute
        assert 'message_attributes' not in request['MessageBody']
    attribute['tenant']['StringValue'] = 'a' * 4000
    with pytest.raises(MessageTooLargeError):
        app.send_task('work', message_attributes=attribute)


def tries(number: int) -> dict[str, Any]:
    """Have boto3 try each request so often."""
    return {'client-config': {'retries': {'total_max_attempts': number}}}


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


def test_a_batch_gives_up_when_sqs_is_lost_on_the_way(site: Site, proxy: FaultySqs) -> None:
    app = site.app(proxy.url, platform=False, broker_transport_options=tries(1))
    assert errors(send_batch(app, calls(app, 'work', 1))) == []
    before = proxy.requests['SendMessageBatch']
    proxy.fail('SendMessageBatch', reset)
    tried: list[int] = []

    def count(**_: Any) -> None:
        tried.append(1)

    with before_each_publish(count):
        outcomes = send_batch(app, calls(app, 'work', 1000))

    assert len(errors(outcomes)) == 1000
    # Each lane may have one in flight when the third fails.
    assert proxy.requests['SendMessageBatch'] - before <= MAX_FAILURES + MAX_IN_FLIGHT
    assert isinstance(outcomes[0].error, NotSentError)
    assert isinstance(outcomes[-1].error, OperationalError)
    assert outcomes[-1].result is None
    assert len(tried) < 1000


def test_a_server_that_is_lost_keeps_nothing_from_another(site: Site, proxy: FaultySqs) -> None:
    copies: list[int] = []

    def lost(handler: Handler) -> None:
        copies.append(1)
        reset(handler)

    proxy.fail('SendMessageBatch', only(site.platform, lost))
    # Each has a client of its own.
    predefined = {queue: {'url': site.create(queue)} for queue in (site.work, site.platform)}
    app = site.app(proxy.url, broker_transport_options=tries(1) | {'predefined_queues': predefined})

    outcomes = send_batch(app, calls(app, 'work', 300))

    assert len(site.messages(site.work)) == 300
    assert len(copies) <= MAX_FAILURES + MAX_IN_FLIGHT
    for error in errors(outcomes):
        assert isinstance(error, NotSentError)
        assert (list(error.sent), list(error.failed)) == ([site.work], [site.platform])


PRODUCER = """
import signal

from celery import Celery

from be_queue import Config, send_batch

# A shell has its jobs in the background ignore it, and with them these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
app = Celery()
app.config_from_object(Config(['work'], SQS_ENDPOINT_URL='{url}', QUEUE_NAME_PREFIX='{env}'))
app.send_task('work.one')
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
    asked_at_first = 2 if operation == 'SendMessage' else 0

    def first_ones_pass(handler: Handler) -> None:
        if proxy.requests[operation] <= asked_at_first:
            handler.answer(*handler.forward())
        else:
            no_answer(handler)

    proxy.fail(operation, first_ones_pass)
    program = PRODUCER.format(url=proxy.url, env=site.env, send=send)
    with subprocess.Popen([sys.executable, '-c', program], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(
                lambda: proxy.requests[operation] == asked_at_first + 2, 'both queues are asked'
            )
            process.send_signal(signal.SIGINT)
            # boto3 would try for 50 seconds.
            assert process.wait(timeout=20) == -signal.SIGINT
        finally:
            process.kill()
