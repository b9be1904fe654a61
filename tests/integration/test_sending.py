"""A producer on this transport, on a real SQS server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest

from be_queue import NotSentError
from tests.integration.sending import Site, asked, only, proxy, server, site
from tests.support.faulty import FaultySqs, Handler, no_answer, status
from tests.support.waiting import wait_until

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
    site: Site, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    sent = asked(proxy)
    app = site.app(proxy.url, PLATFORM_QUEUE_NAME='')

    app.send_task('work', countdown=100)
    app.send_task('work', countdown=100, DelaySeconds=5)
    app.send_task('work')
    app.send_task('ordered', countdown=100)
    assert 'delays no single message' not in caplog.text
    app.send_task('ordered', DelaySeconds=5)

    late, own, soon = (request.get('DelaySeconds', 0) for request in sent.of(site.work))
    assert 60 < late <= 100
    assert (own, soon) == (5, 0)
    assert all('DelaySeconds' not in request for request in sent.of(site.fifo))
    assert 'delays no single message' in caplog.text


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
