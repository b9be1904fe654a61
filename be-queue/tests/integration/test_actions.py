"""Actions by the dashboard, from gunicorn, on a real SQS server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from http import HTTPStatus
from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context

from be_queue import Config
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import faulty
from tests.support.browser import Answer, Browser, bearer, hidden
from tests.support.faulty import FaultySqs
from tests.support.process import Program
from tests.support.web import WebSite

TOKEN = 'a-token-of-an-operator'
REDRIVE, DELETE, PURGE = '/actions/redrive', '/actions/delete', '/actions/purge'
ACTIONS = (REDRIVE, DELETE, PURGE, '/actions/retry', '/actions/revoke')


class Desk:
    """A web site, its log, and a queue for dead letters."""

    def __init__(self, site: WebSite, sqs: SqsServer, program: Program) -> None:
        self.port = site.port
        self._program = program
        self._sqs = sqs
        self._log_begins = len(program.log)
        self.results = site.environment['CELERY_RESULT_BACKEND']
        self.queue = site.queue('add')
        self.dead = f'err-{self.queue}'
        for name in (self.queue, self.dead):
            url = sqs.client().create_queue(QueueName=name)['QueueUrl']
            sqs.client().purge_queue(QueueUrl=url)

    def send_dead_letters(self, count: int) -> None:
        client = self._sqs.client()
        url = client.get_queue_url(QueueName=self.dead)['QueueUrl']
        for start in range(0, count, 10):
            entries = [
                {'Id': str(n), 'MessageBody': json.dumps({'headers': {'id': f'id-{n}'}})}
                for n in range(start, min(start + 10, count))
            ]
            client.send_message_batch(QueueUrl=url, Entries=entries)

    @property
    def counts(self) -> tuple[int, int]:
        """The messages in the queue, and its dead letters."""
        return self._sqs.visible(self.queue), self._sqs.visible(self.dead)

    def admin(self) -> Browser:
        browser = Browser(self.port)
        assert browser.become_admin(TOKEN).status == HTTPStatus.SEE_OTHER
        return browser

    def act(self, admin: Browser, path: str, *ids: str, **fields: str) -> Answer:
        """Send a form with the CSRF token of this browser's page."""
        chosen = [('ids', each) for each in ids]
        return admin.submit('/admin', path, *chosen, **{'queue': self.queue, **fields})

    def said(self, admin: Browser, answer: Answer) -> str:
        """Return what the page says that an action leads to."""
        assert answer.status == HTTPStatus.SEE_OTHER, answer.text
        page = admin.get(answer.headers['Location']).text
        return unescape(re.findall('<p class="note (?:ok|bad)" role="status">(.*?)</p>', page)[0])

    def logged(self, action: str) -> list[Mapping[str, Any]]:
        """Return the log lines of an action."""
        log = self._program.log[self._log_begins :]
        lines = [line for line in log.splitlines() if line.startswith('{')]
        return [line for line in map(json.loads, lines) if line.get('action') == action]


@pytest.fixture(scope='module')
def shared_proxy(sqs: SqsServer) -> Iterator[FaultySqs]:
    with faulty.faulty_sqs(sqs.port) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultySqs) -> Iterator[FaultySqs]:
    yield shared_proxy
    shared_proxy.repair()


@pytest.fixture(scope='module')
def served(
    shared_proxy: FaultySqs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebSite, Program]]:
    folder = tmp_path_factory.mktemp('actions')
    site = WebSite(shared_proxy.url, {'CELERY_RESULT_BACKEND': f'db+sqlite:///{folder}/r'}, folder)
    with site.server(ADMIN_TOKEN=TOKEN, LOG_FORMAT='json') as program:
        yield site, program


@pytest.fixture
def desk(served: tuple[WebSite, Program], sqs: SqsServer) -> Iterator[Desk]:
    site, program = served
    yield Desk(site, sqs, program)
    assert TOKEN not in program.log


def test_nothing_is_done_for_who_has_not_given_the_token(desk: Desk) -> None:
    desk.send_dead_letters(1)
    stranger, admin = Browser(desk.port), desk.admin()
    script = Browser(desk.port, **bearer('another-token-of-somebody'))
    token = ('csrf_token', dict(hidden(admin.get('/admin').text))['csrf_token'])
    for path in ACTIONS:
        assert stranger.post(path, token, queue=desk.queue).status == HTTPStatus.FORBIDDEN
        assert script.post(path, queue=desk.queue).status == HTTPStatus.FORBIDDEN
        assert admin.post(path, queue=desk.queue).status == HTTPStatus.BAD_REQUEST
    others = ('csrf_token', dict(hidden(desk.admin().get('/admin').text))['csrf_token'])
    answer = admin.post(REDRIVE, others, queue=desk.queue)
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert 'reload the page and try again' in answer.text
    assert stranger.become_admin(f'{TOKEN}x').status == HTTPStatus.FORBIDDEN
    assert stranger.post('/admin', token=TOKEN).status == HTTPStatus.BAD_REQUEST
    assert 'class="action"' not in stranger.get(f'/dead-letters/{desk.queue}').text
    assert desk.counts == (0, 1)
    refusals = [(line['path'], line['address']) for line in desk.logged('refused')]
    assert refusals.count(('/admin', '127.0.0.1')) == 2
    assert len(refusals) == 3 * len(ACTIONS) + 3


def test_the_cookie_of_an_admin_stays_in_the_browser_until_it_ends(desk: Desk) -> None:
    admin = Browser(desk.port)
    cookie = admin.become_admin(TOKEN).headers['Set-Cookie']
    assert cookie.startswith('be_queue_admin=')
    assert cookie.partition('; ')[2] == 'HttpOnly; Path=/; SameSite=Strict'
    secure = Browser(desk.port, **{'X-Forwarded-Proto': 'https'}).get('/admin')
    assert 'Secure; ' in secure.headers['Set-Cookie']
    assert TOKEN not in admin.get('/').text
    admin.submit('/', '/admin/leave')
    assert desk.act(admin, REDRIVE).status == HTTPStatus.FORBIDDEN


def test_dead_letters_are_redriven_and_deleted(desk: Desk) -> None:
    desk.send_dead_letters(12)
    admin = desk.admin()
    assert desk.said(admin, desk.act(admin, REDRIVE, 'id-3', 'id-11')) == 'Dead letters redriven: 2'
    assert desk.counts == (2, 10)
    (line,) = desk.logged('redriven')
    assert (line['queue'], line['ids'], line['count']) == (desk.queue, ['id-3', 'id-11'], 2)
    assert (line['user'], line['address']) == (None, '127.0.0.1')

    question = desk.act(admin, DELETE, 'id-1', 'id-2')
    assert f'Delete 2 dead letters of {desk.queue}?' in question.text
    assert desk.counts == (2, 10)
    answer = admin.post(DELETE, *hidden(question.text))
    assert desk.said(admin, answer) == 'Dead letters deleted: 2'
    assert desk.counts == (2, 8)

    said = desk.said(admin, desk.act(admin, REDRIVE, 'id-3'))
    assert said == f'No dead letter of {desk.queue} has one of these ids.'
    assert 'choose' in desk.said(admin, desk.act(admin, REDRIVE, chosen='yes'))
    assert desk.counts == (2, 8)
    assert desk.said(admin, desk.act(admin, REDRIVE)) == 'Dead letters redriven: 8'
    assert desk.counts == (10, 0)

    desk.send_dead_letters(3)
    question = desk.act(admin, PURGE, dead_letters='yes')
    assert f'Delete all dead letters of {desk.queue}, about 3?' in question.text
    admin.post(PURGE, *hidden(question.text))
    assert desk.counts == (10, 0)
    answer = Browser(desk.port, **bearer(TOKEN)).post(PURGE, queue=desk.queue)
    assert (answer.status, answer.text.count('\n')) == (HTTPStatus.OK, 1)
    assert desk.counts == (0, 0)
    assert [line['user'] for line in desk.logged('purged')] == [None, 'ADMIN_TOKEN']


def test_expected_failures_are_shown_in_one_line(desk: Desk, proxy: FaultySqs) -> None:
    admin, script = desk.admin(), Browser(desk.port, **bearer(TOKEN))
    answer = script.post(REDRIVE, queue='nowhere')
    assert answer.status == HTTPStatus.CONFLICT
    assert "'nowhere' must be one of the queues" in answer.text
    desk.send_dead_letters(1)
    proxy.fail('DeleteMessageBatch', faulty.status(400, 'AccessDenied'))
    proxy.fail('PurgeQueue', faulty.status(400, 'AccessDenied'))
    assert 'AccessDenied' in desk.said(admin, desk.act(admin, REDRIVE))
    assert 'AccessDenied' in desk.said(admin, desk.act(admin, PURGE, confirmed='yes'))
    (line,) = desk.logged('redriven')
    assert 'AccessDenied' in line['error']


def test_a_failed_task_is_retried_and_a_waiting_one_revoked(desk: Desk) -> None:
    admin, script = desk.admin(), Browser(desk.port, **bearer(TOKEN))
    app = Celery(set_as_current=False)
    app.config_from_object(Config(['unused'], result_backend=desk.results))
    context = Context({'task': 'add', 'args': [1, 2], 'kwargs': {}})
    app.backend.store_result('failed', ValueError(), states.FAILURE, request=context)
    answer = admin.submit('/admin', '/actions/retry', task_id='failed')
    assert answer.headers['Location'] == '/tasks/failed'
    (line,) = desk.logged('retried')
    assert desk.said(admin, answer) == f'Sent once more, as task {line["new_task_id"]}.'
    assert line['task_id'] == 'failed'
    assert desk.counts == (1, 0)

    answer = admin.submit('/admin', '/actions/revoke', task_id='a/b')
    assert answer.headers['Location'] == '/tasks/a%2Fb'
    assert app.AsyncResult('a/b').state == states.REVOKED
    answer = script.post('/actions/revoke', task_id='failed')
    assert answer.status == HTTPStatus.CONFLICT
    assert 'does not wait: its state is FAILURE' in answer.text


def test_a_long_redrive_goes_on_behind_the_pages(desk: Desk, proxy: FaultySqs) -> None:
    desk.send_dead_letters(100)
    admin, script = desk.admin(), Browser(desk.port, **bearer(TOKEN))
    proxy.fail('SendMessageBatch', faulty.slow(1))
    answer = desk.act(admin, REDRIVE)
    assert answer.headers['Location'] == '/dead-letters'
    again = script.post(REDRIVE, queue='template-add')
    assert again.status == HTTPStatus.CONFLICT
    assert 'runs already' in again.text
    page = admin.get('/dead-letters').text
    assert re.search(r'Dead letters redriven: \d0 so far', page)
    proxy.repair()
    wait_until(lambda: desk.logged('redriven'), 'the redrive ends')
    assert desk.counts == (100, 0)
    assert 'Dead letters redriven: 100</p>' in admin.get('/dead-letters').text
