"""Who may read the dashboard, from gunicorn."""

from __future__ import annotations

from pathlib import Path

import pytest

from be_queue.testing.sqs import SqsServer
from tests.support.browser import Browser, basic
from tests.support.web import WebSite

ADMIN_TOKEN = 'a-token-of-an-operator'
LOGINS = 'ann:correct-horse, bob:battery:staple'
OPEN_PATHS = {'/metrics': 200, '/healthz': 503, '/readyz': 503}


@pytest.fixture
def site(sqs: SqsServer, tmp_path: Path) -> WebSite:
    site = WebSite(sqs.url, {'CELERY_RESULT_BACKEND': f'db+sqlite:///{tmp_path}/r'}, tmp_path)
    site.environment['ENV'] = 'prod'
    return site


def test_outside_of_local_the_pages_are_off_until_somebody_says_who_may_read(
    site: WebSite,
) -> None:
    with site.server(ADMIN_TOKEN=ADMIN_TOKEN) as program:
        browser = Browser(site.port)
        for path in ('/', '/admin'):
            answer = browser.get(path)
            assert answer.status == 403
            assert 'set DASHBOARD_AUTH=USER:PASSWORD, or DASHBOARD_OPEN=true' in answer.text
        assert {path: browser.get(path).status for path in OPEN_PATHS} == OPEN_PATHS
        assert program.log.count('The dashboard is off: set DASHBOARD_AUTH') == 1


def test_the_pages_can_be_opened_and_stay_out_of_frames_and_caches(site: WebSite) -> None:
    with site.server(DASHBOARD_OPEN='true') as program:
        browser = Browser(site.port)
        answer = browser.get()
        assert answer.status == 200
        assert 'Set-Cookie' not in answer.headers
        for action in (browser.get('/admin'), browser.post('/actions/purge', queue='add')):
            assert (action.status, action.text) == (403, 'Actions are off: set ADMIN_TOKEN.\n')
        assert answer.headers['X-Frame-Options'] == 'DENY'
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['Referrer-Policy'] == 'no-referrer'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert "frame-ancestors 'none'" in answer.headers['Content-Security-Policy']
        assert 'The dashboard is off' not in program.log


@pytest.mark.parametrize('env', ['local', 'prod'])
def test_a_login_is_asked_for_where_one_is_set_but_not_by_the_routes_of_a_user(
    site: WebSite, env: str
) -> None:
    own = 'tests.support.own_web:create_app()'
    settings = {'DASHBOARD_AUTH': LOGINS, 'DASHBOARD_OPEN': 'true', 'LOG_FORMAT': 'console'}
    with site.server(own, ENV=env, ADMIN_TOKEN=ADMIN_TOKEN, **settings) as program:
        stranger = Browser(site.port)
        assert stranger.get().status == 401
        assert 'Basic realm=' in stranger.get().headers['WWW-Authenticate']
        assert 'X-Frame-Options' in stranger.get().headers
        assert {path: stranger.get(path).status for path in OPEN_PATHS} == OPEN_PATHS
        assert Browser(site.port, **basic('ann', 'correct-horse')).get().status == 200
        assert Browser(site.port, **basic('bob', 'battery:staple')).get().status == 200
        assert 'login refused' not in program.log
        for user, password in (('ann', 'battery:staple'), ('eve', ''), ('', 'correct-horse')):
            assert Browser(site.port, **basic(user, password)).get().status == 401
        assert program.log.count('wrong login for the dashboard') == 3
        assert 'user=ann address=127.0.0.1' in program.log
        assert 'horse' not in program.log
        assert 'staple' not in program.log

        # They keep their sessions and need no token.
        answer = stranger.post('/own', x='1')
        assert (answer.status, answer.text) == (200, '1 1')
        assert 'X-Frame-Options' not in answer.headers
        assert stranger.post('/own', x='2').text == '2 2'
        assert list(stranger.cookies) == ['session']
