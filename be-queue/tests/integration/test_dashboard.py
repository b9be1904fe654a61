"""The dashboard, as a browser gets it from gunicorn, and the other paths while servers hang."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from celery import Celery, states

from be_queue import Config, Queue, Queues
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.transport.dead_letters import REASON
from be_queue.worker import heartbeat
from tests.support.process import running
from tests.support.results import Results
from tests.support.web import WebSite

UNKNOWN = '\N{EN DASH}'
PREFIX = 'orders___returns'
TRACE_URL = 'http://traces/{task_id}?x=y'
HOSTILE = '<script>alert("x")</script>'


def cells(page: str, text: str) -> list[str]:
    """Return the cells of the table row that holds ``text``, without their markup."""
    row = next(row for row in re.findall(r'<tr>(.*?)</tr>', page, re.DOTALL) if text in row)
    found = re.findall(r'<td.*?>(.*?)</td>', row, re.DOTALL)
    return [unescape(re.sub(r'<[^>]*>', ' ', cell)).strip() for cell in found]


@pytest.fixture(scope='module')
def postgres(postgres: PostgresServer) -> PostgresServer:
    """The database by a way of our own, which can be cut."""
    return postgres.with_a_proxy_of_its_own()


@pytest.fixture(scope='module')
def site(
    sqs: SqsServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebSite]:
    site = WebSite(sqs.url, postgres.environment, tmp_path_factory.mktemp('web'))
    with site.server():
        yield site


@pytest.fixture
def results(postgres: PostgresServer) -> Results:
    return Results(postgres.backend_url)


def test_tasks_are_shown_with_their_results(site: WebSite, results: Results) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=3, minutes=30)
    waiting, delayed = results.sent(), results.sent(eta=later)
    succeeded = results.stored({'sum': 42}, retries=2)
    failed = results.stored(ValueError('no such order', 7), states.FAILURE)
    running = results.stored({'pid': 4711, 'hostname': 'a'}, states.STARTED)
    page = site.wait_for(running)
    assert cells(page, succeeded)[:5] == ['add', succeeded, 'SUCCESS', '3', "{'sum': 42}"]
    assert cells(page, failed)[2:5] == ['FAILURE', '1', 'ValueError: no such order, 7']
    assert cells(page, waiting)[2:5] == ['PENDING', '1', '']
    assert cells(page, waiting)[6:] == [UNKNOWN, UNKNOWN]
    assert cells(page, running)[2:5] == ['STARTED', '1', '']
    assert cells(page, delayed)[6].split() == ['due', 'in', '3', 'h']


def test_lists_are_filtered_and_paged_by_links(site: WebSite, results: Results) -> None:
    ids = [results.stored(n, name=f'paged{n % 2}', queue='a b/c') for n in range(120)]
    found, path = [], '/tasks?name=paged1&queue=a+b%2Fc&state=SUCCESS&since=2020-01-01T00:00'
    while path:
        page = site.get(path)[0]
        assert 'value="paged1"' in page
        found += re.findall(r'<a href="/tasks/(\w+)">', page)
        path = unescape(''.join(re.findall(r'rel="next" href="(.*?)"', page)))
    assert len(found) == 60
    assert set(found) == set(ids[1::2])
    assert 'No such tasks' in site.get('/tasks?name=paged1&until=2020-01-01T00:00')[0]
    assert site.get('/tasks?endpoint=x&state=no')
    for malformed in ('since=yesterday', 'after=yesterday'):
        assert 'Invalid isoformat' in site.get(f'/tasks?{malformed}', status=400)[0]
    answer = site.get(f'/tasks?id=+{ids[0]}+', status=302)[1]
    assert answer['Location'] == f'/tasks/{ids[0]}'


def test_a_task_has_a_page(site: WebSite, results: Results) -> None:
    parent = results.sent('parent')
    crumb = {
        'timestamp': '2026-11-29T12:00:00+00:00',
        'data': {'attempt': 1, 'exception': 'ConnectionError'},
    }
    task_id = f'a/b?{HOSTILE}{uuid.uuid4().hex}'
    sent = {'task_id': task_id, 'args': "('x', 7)", 'retries': 1, 'earlier_attempts': [crumb]}
    results.sent('charge', parent_id=parent, **sent)
    results.stored(ValueError('no such order'), states.FAILURE, task_id, traceback='File "x.py"')
    child = results.sent('child', parent_id=task_id)
    page = unescape(site.get(f'/tasks/{quote(task_id)}')[0])
    for text in (
        'charge <span class="state FAILURE">FAILURE</span>',
        f'<a href="/tasks/{parent}">',
        '<strong>Attempt 1</strong> failed with <code>ConnectionError</code>',
        '<strong>Attempt 2</strong> failed',
        "('x', 7)",
        'ValueError: no such order',
        'File "x.py"',
    ):
        assert text in page
    assert cells(page, child)[0] == 'child'
    (link,) = re.findall(r'Parent</dt><dd><a href="(.*?)"', site.get(f'/tasks/{child}')[0])
    assert unescape(unquote(link)) == f'/tasks/{task_id}'
    assert 'Nothing is known' in site.get('/tasks/unknown', status=404)[0]


def test_hostile_texts_stay_texts_and_passwords_are_masked(site: WebSite, results: Results) -> None:
    hostile = results.stored(HOSTILE, name=f'{HOSTILE}" onclick="x')
    results.stored(ValueError(HOSTILE), states.FAILURE)
    long, huge = results.stored(['x' * 90] * 20), results.stored('x' * 30_000)
    secret = results.stored({'password': 'hunter2', 'url': 'http://me:hunter2@host/'})
    page = site.wait_for(secret)
    assert cells(page, hostile)[0] == f'{HOSTILE}" onclick="x'
    assert cells(page, hostile)[4] == repr(HOSTILE)
    assert '<script>' not in page
    assert '" onclick="' not in page
    assert '>orders &amp; returns</a>' in page
    assert 0 < len(cells(page, long)[4]) <= 250
    assert cells(page, huge)[4] == '30,002 bytes'
    assert cells(page, secret)[4] == "{'password': '***', 'url': 'http://me:***@host/'}"
    assert 'hunter2' not in page
    headers = site.get()[1]
    assert "default-src 'none'" in headers['Content-Security-Policy']
    assert 'unsafe' not in headers['Content-Security-Policy']
    assert headers['Cache-Control'] == 'no-store'


def test_queues_are_shown_with_depths_and_counts(site: WebSite, sqs: SqsServer) -> None:
    queues = Queues([Queue(queue_name='python-backend-worker-template-add', task='add')])
    queues.build_celery('local', username=site.username)
    producer = Celery(set_as_current=False)
    producer.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
    with producer.connection_for_write() as connection:
        for n in range(4):
            producer.send_task('add', (n, n), connection=connection)
    client = sqs.client()
    url = client.create_queue(QueueName=f'err-{site.queue("add")}')['QueueUrl']
    client.send_message(QueueUrl=url, MessageBody='a dead letter')
    queue = client.get_queue_url(QueueName=site.queue('add'))['QueueUrl']
    client.receive_message(QueueUrl=queue, VisibilityTimeout=300)
    count = (
        'from be_queue.worker.metrics.metrics import *\n'
        f'label = dict(name="add", queue="{site.queue("add")}")\n'
        'CONSUMER_TASKS.labels(state="RECEIVED", **label).inc(1234)\n'
        'CONSUMER_TASKS.labels(state="FAILURE", **label).inc()\n'
        'WORKER_TASKS.labels(state="SUCCESS", **label).inc(5)\n'
        'WORKER_TASKS.labels(state="RETRY", **label).inc(2)\n'
        'WORKER_TASKS.labels(state="FAILURE", **label).inc(2)\n'
        'for seconds in (1, 2): RUNTIME.labels(**label).observe(seconds)\n'
    )
    with running(['-c', count], site.environment, site.folder / 'count.log') as counting:
        assert counting.ends(timeout=60) == 0
    poller = heartbeat.Poller('throttled', time.time(), time.time() - 7200)
    load = heartbeat.Load(4, 3, time.time(), {})
    consuming = heartbeat.State.CONSUMING
    heartbeat.write(site.metrics / 'worker.json', consuming, {site.queue('add'): poller}, load)

    def row() -> list[str] | None:
        found = cells(site.get()[0], site.queue('add'))
        return found if found[2:5] == ['3', '1', '0'] and found[10] == '3' else None

    shown = wait_until(row, 'depth and counts are shown')
    assert shown[0].split() == ['add', site.queue('add')]
    assert shown[1] == 'throttled'
    assert shown[5:7] == ['2.0 h', '1']
    assert shown[7].split() == ['1', '234']
    assert shown[8:12] == ['5', '2', '3', '1.50 s']
    page = site.get()[0]
    assert re.search(r'Busy processes</dt><dd>3 <small>of 4<', page)
    # Nobody has made that queue: whoever looks must not.
    assert cells(page, site.queue('slow'))[1:12] == [UNKNOWN] * 6 + ['0'] * 4 + [UNKNOWN]
    assert site.queue('slow') not in sqs.queue_names()


def test_dead_letters_are_read_and_stay(site: WebSite, sqs: SqsServer) -> None:
    client, name = sqs.client(), site.queue('retry-demo')
    client.create_queue(QueueName=name)
    url = client.create_queue(QueueName=f'err-{name}')['QueueUrl']
    inner = base64.b64encode(json.dumps([['x'], {'password': 'hunter2'}, {}]).encode()).decode()
    kwargs = "{'password': 'hunter2'}"
    headers = {'task': f'retry{HOSTILE}', 'id': 'a/b', 'argsrepr': "('x',)", 'kwargsrepr': kwargs}
    body = json.dumps({'body': inner, 'headers': headers})
    reason = {'StringValue': f'poison {HOSTILE}', 'DataType': 'String'}
    client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes={REASON: reason})
    client.send_message(QueueUrl=url, MessageBody='not a task')
    path = f'/dead-letters/{name}'
    wait_until(lambda: cells(site.get('/dead-letters')[0], path)[1] == '2', 'it counts them')
    for _ in range(2):
        page = site.get(path)[0]
        assert '<script>' not in page
        text = unescape(page)
        for shown in (f'retry{HOSTILE}', f'poison {HOSTILE}', "('x',)", 'not a task', '/tasks/a/b'):
            assert shown in text
        assert '"password": "***"' in text
        assert 'hunter2' not in text
    assert site.get('/dead-letters/unknown', status=404)


def test_the_worker_is_shown_as_its_heartbeat_says(site: WebSite) -> None:
    path = site.metrics / 'worker.json'
    path.unlink(missing_ok=True)
    assert 'worker not started' in site.get()[0]
    heartbeat.write(path, heartbeat.State.CONSUMING)
    assert 'light ok">worker consuming' in site.get()[0]
    heartbeat.write(path, heartbeat.State.STOPPING)
    assert 'light busy">worker stopping' in site.get()[0]
    path.write_text(json.dumps({'pid': 1, 'state': 'consuming', 'time': time.time() - 100}))
    page = site.get()[0]
    assert 'worker stuck' in page
    assert re.search(r'the event loop of worker process 1 is stuck for 1\d\d s', page)


def test_the_page_comes_while_the_database_is_unavailable(
    site: WebSite, results: Results, postgres: PostgresServer
) -> None:
    task_id = results.sent('add')
    site.wait_for(task_id)
    postgres.proxy.cut()
    try:
        site.wait_for('results failing')
        page = site.wait_for('The list of tasks cannot be read')
        assert 'broker ok' in page
        assert task_id not in page
        assert f':{postgres.password}@' not in page
    finally:
        postgres.proxy.restore()
    site.wait_for(task_id)
    site.wait_for('results ok')


def test_every_path_answers_while_the_broker_hangs_and_integrations_end(tmp_path: Path) -> None:
    results, notes = 'redis://me:hunter2@127.0.0.1/0', tmp_path / 'notes'
    recorded = 'tests.support.recorded_web:create_app()'
    with socket.create_server(('127.0.0.1', 0)) as silent:
        broker = f'http://test:hunter2@127.0.0.1:{silent.getsockname()[1]}'
        site = WebSite(broker, {'CELERY_RESULT_BACKEND': results}, tmp_path)
        with site.server(recorded, QUEUE_DEPTH_INTERVAL='0.1', NOTES=str(notes)) as program:
            page = site.wait_for('broker: no answer for ')
            assert cells(page, site.queue('add'))[2] == UNKNOWN
            # Only databases have tables.
            page = site.wait_for('The list of tasks cannot be read')
            assert 'redis://me:***@127.0.0.1/0' in page
            metrics = site.get('/metrics')[0]
            assert f'{PREFIX}_queue_depth_age_seconds{{queue="{site.queue("add")}"}}' in metrics
            assert f'{PREFIX}_queue_messages{{' not in metrics
            ready = site.get('/readyz', status=503)[0]
            assert 'no answer for' in ready
            # Not with SIGQUIT: gunicorn's handler deadlocks while it accepts a request.
            program.ends(signal.SIGTERM)
            assert 'hunter2' not in page + metrics + ready + program.log
            started, stopped = notes.read_text().splitlines()
            pid = started.split()[-1]
            assert (started, stopped) == (f'start Role.WEB {pid}', f'stop {pid}')
            assert int(pid) != program.process.pid  # the process that serves


def test_an_empty_page_says_how_to_send_a_first_task(sqs: SqsServer, tmp_path: Path) -> None:
    database = f'db+sqlite:///{tmp_path}/results.sqlite'
    results = Results(database)
    environment = {'CELERY_RESULT_BACKEND': database, 'PLATFORM_QUEUE_NAME': ''}
    site = WebSite(sqs.url, environment, tmp_path)
    url = sqs.client().create_queue(QueueName=site.queue('add'))['QueueUrl']
    sqs.client().send_message(QueueUrl=url, MessageBody='x')
    with site.server(QUEUE_DEPTH_INTERVAL='0', DASHBOARD_ARGUMENTS='false', TRACE_URL=TRACE_URL):
        page = site.wait_for('python -m examples.client')
        assert 'No tasks yet' in page
        assert 'Platform queue' not in page
        # Only somebody who looks has SQS asked.
        wait_until(lambda: cells(site.get()[0], site.queue('add'))[2] == '1', 'it asks')
        metrics = site.get('/metrics')[0]
        assert f'{PREFIX}_build_info{{' in metrics
        assert f'{PREFIX}_queue_depth_age_seconds{{' not in metrics

        # The server has DASHBOARD_ARGUMENTS=false.
        task_id = results.sent('charge', args="('visa',)", kwargs="{'cvc': 'zyx'}")
        results.stored(ValueError('visa'), states.FAILURE, task_id, 'cvc = zyx')
        url = sqs.client().create_queue(QueueName=f'err-{site.queue("add")}')['QueueUrl']
        body = json.dumps({'headers': {'argsrepr': 'visa'}, 'body': 'zyx'})
        sqs.client().send_message(QueueUrl=url, MessageBody=body)
        for path in ('/', '/tasks', f'/tasks/{task_id}', f'/dead-letters/{site.queue("add")}'):
            page = site.get(path)[0]
            assert 'visa' not in page
            assert 'zyx' not in page
        assert 'Arguments and results are hidden' in page
        assert f'href="http://traces/{task_id}?x=y"' in site.get(f'/tasks/{task_id}')[0]
