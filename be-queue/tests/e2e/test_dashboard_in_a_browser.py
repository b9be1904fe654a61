"""The dashboard in a real Chromium; its screenshots are kept in the folder PYTEST_SCREENSHOTS."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import states
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.results import Results
from tests.support.web import WebSite

CHROMIUM = shutil.which('chromium')

pytestmark = pytest.mark.skipif(not CHROMIUM, reason='there is no chromium on this machine')

#: A page looks again every three seconds, a busy machine takes its time.
expect.set_options(timeout=30_000)

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
LONG = 'a_task_with_a_name_that_nobody_would_want_to_read_' * 3
TOKEN = 'a-token-of-an-operator'
PHONE = {'width': 390, 'height': 844}

Open = Callable[..., Page]


@pytest.fixture(scope='module')
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f'db+sqlite:///{tmp_path_factory.mktemp("results")}/results.sqlite'


@pytest.fixture(scope='module')
def site(
    sqs: SqsServer, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebSite]:
    environment = {'CELERY_RESULT_BACKEND': database}
    site = WebSite(sqs.url, environment, tmp_path_factory.mktemp('web'))
    with site.server(ADMIN_TOKEN=TOKEN):
        yield site


@pytest.fixture
def results(database: str) -> Results:
    """An empty history."""
    results = Results(database)
    results.clear()
    return results


@pytest.fixture(scope='module')
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, site: WebSite, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens pages in which no script fails, nothing is refused, and no dialog appears."""
    faults: list[str] = []
    pages: list[Page] = []

    def log(message: ConsoleMessage) -> None:
        fault = f'{message.text} {message.location["url"]}'
        # An answer in plain text has no icon.
        if message.type == 'error' and not re.search('403|503|favicon', fault):
            faults.append(fault)

    def open_page(path: str = '/', **options: object) -> Page:
        context = chromium.new_context(base_url=f'http://127.0.0.1:{site.port}', **options)
        page = context.new_page()
        page.on('dialog', lambda dialog: faults.append(f'dialog {dialog.message}'))
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.on('console', log)
        pages.append(page)
        page.clock.install()
        page.goto(path)
        return page

    yield open_page
    for number, page in enumerate(pages):
        shot(page, f'{request.node.name.removeprefix("test_")}-{number}')
        page.context.close()
    assert faults == []


def look_again(page: Page) -> None:
    """Have the page do what it does every three seconds."""
    page.clock.fast_forward(3_000)


def shot(page: Page, name: str) -> None:
    if folder := os.environ.get('PYTEST_SCREENSHOTS'):
        page.screenshot(path=Path(folder) / f'{name}.png', full_page=True)


def test_an_empty_dashboard_says_so_and_shows_a_first_task_when_it_comes(
    open_page: Open, results: Results
) -> None:
    page = open_page()
    expect(page.get_by_text('No tasks yet')).to_be_visible()
    page.evaluate('document.body.dataset.loaded = "once"')
    results.stored(42)
    look_again(page)
    expect(page.get_by_text('SUCCESS')).to_be_visible()
    assert page.evaluate('document.body.dataset.loaded') == 'once'


def test_ten_thousand_tasks_are_paged_and_filtered(open_page: Open, results: Results) -> None:
    results.sent_many(10_000)
    page = open_page('/tasks')
    links = page.locator('.id a')
    expect(links).to_have_count(50)
    latest = links.first.inner_text()
    page.get_by_role('link', name='Older').click()
    expect(page).to_have_url(re.compile('after='))
    expect(links).to_have_count(50)
    expect(links.first).not_to_have_text(latest)
    page.get_by_role('link', name='Latest').click()
    expect(page).to_have_url(re.compile('/tasks$'))
    page.get_by_label('Id').fill(latest)
    page.get_by_role('button', name='Filter').click()
    expect(page.locator('.title + p')).to_have_text(latest)

    page.goto('/tasks')
    page.get_by_label('Task').fill('task7')
    page.get_by_label('State').select_option('PENDING')
    page.get_by_role('button', name='Filter').click()
    expect(page).to_have_url(re.compile('name=task7'))
    page.get_by_role('link', name='Older').click()
    expect(page).to_have_url(re.compile('name=task7.*after=|after=.*name=task7'))
    expect(page.get_by_label('Task')).to_have_value('task7')
    expect(links).to_have_count(50)
    assert set(page.locator('td.name').all_inner_texts()) == {'task7'}


def test_hostile_names_and_arguments_run_no_script(
    open_page: Open, results: Results, site: WebSite, sqs: SqsServer
) -> None:
    child = {'name': HOSTILE, 'queue': HOSTILE, 'args': HOSTILE, 'kwargs': HOSTILE}
    parent = results.sent(HOSTILE)
    task_id = f'javascript:alert(3)//{HOSTILE}'
    results.sent(task_id=task_id, parent_id=parent, **child)
    results.stored(ValueError(HOSTILE), states.FAILURE, task_id, HOSTILE)
    client = sqs.client()
    for prefix in ('', 'err-'):
        url = client.create_queue(QueueName=prefix + site.queue('slow'))['QueueUrl']
    client.send_message(QueueUrl=url, MessageBody=HOSTILE)

    page = open_page('/tasks')
    page.get_by_role('link', name=task_id).click()
    expect(page.get_by_role('heading', name=HOSTILE)).to_be_visible()
    page.get_by_role('link', name=parent).click()
    page.get_by_role('link', name=task_id).click()
    expect(page.get_by_text('Traceback')).to_be_visible()
    letters = open_page(f'/dead-letters/{site.queue("slow")}')
    letters.get_by_text('Message').click()
    expect(letters.locator('pre')).to_have_text(HOSTILE)
    assert letters.locator('img').count() == page.locator('img').count() == 0


def test_a_poisoned_queue_is_redriven(open_page: Open, site: WebSite, sqs: SqsServer) -> None:
    client, queue = sqs.client(), site.queue('add')
    urls = [client.create_queue(QueueName=name)['QueueUrl'] for name in (queue, f'err-{queue}')]
    for n in range(12):
        headers = {'task': 'add', 'id': f'id-{n}', 'argsrepr': f'({n}, None)'}
        body = json.dumps({'headers': headers, 'properties': {}, 'body': ''})
        client.send_message(QueueUrl=urls[1], MessageBody=body)

    def count(url: str) -> int:
        name = 'ApproximateNumberOfMessages'
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer['Attributes'][name])

    page = open_page('/dead-letters')
    letters = page.locator('article')

    def show(number: int) -> None:
        """Open the queue's page until it shows so many: a page does not wait for a slow SQS."""

        def is_shown() -> bool:
            page.goto(f'/dead-letters/{queue}')
            return letters.count() == number

        wait_until(is_shown, f'{number} dead letters are shown')

    show(12)
    assert page.locator('main button').count() == 0
    page.get_by_role('link', name='Act').click()
    page.get_by_label('ADMIN_TOKEN').fill('a wrong one')
    page.get_by_role('button', name='Go on').click()
    expect(page.get_by_text('This is not the ADMIN_TOKEN')).to_be_visible()
    page.goto('/admin')
    page.get_by_label('ADMIN_TOKEN').fill(TOKEN)
    page.get_by_role('button', name='Go on').click()
    expect(page.get_by_text('You may act now')).to_be_visible()

    show(12)
    for n in (1, 2):
        letters.filter(has_text=re.compile(f'id-{n}\\b')).get_by_role('checkbox').check()
    page.get_by_role('button', name='Redrive chosen').click()
    expect(page.get_by_text('Dead letters redriven: ')).to_be_visible()
    wait_until(lambda: count(urls[0]) == 2, 'the chosen ones are redriven')
    show(10)
    letters.filter(has_text=re.compile('id-3\\b')).get_by_role('button', name='Delete').click()
    page.get_by_role('button', name='Delete').click()
    expect(page.get_by_text('Dead letters deleted: ')).to_be_visible()
    show(9)
    shot(page, 'a_poisoned_queue')
    page.get_by_role('button', name='Redrive all').click()
    expect(page.get_by_text('Dead letters redriven: ')).to_be_visible()
    wait_until(lambda: (count(urls[0]), count(urls[1])) == (11, 0), 'all are redriven')


def test_pages_fit_a_phone(open_page: Open, results: Results) -> None:
    task_id = results.stored(ValueError(LONG), states.FAILURE, '', LONG, name=LONG, args=LONG)
    page = open_page(viewport=PHONE, is_mobile=True)
    for path in ('/dead-letters', '/tasks', f'/tasks/{task_id}', '/'):
        page.goto(path)
        # The window of a phone grows with what does not fit.
        widths = page.evaluate('[document.documentElement.scrollWidth, innerWidth]')
        assert widths == [PHONE['width']] * 2, path


def test_everything_is_reached_by_the_keyboard(open_page: Open, results: Results) -> None:
    task_id = results.stored(1)
    page = open_page()

    def tab_to(text: str) -> None:
        passed = []
        while text not in passed:
            page.keyboard.press('Tab')
            passed.append(page.evaluate('document.activeElement.innerText'))
            assert len(passed) < 60, passed
        outline = 'getComputedStyle(document.activeElement).outlineStyle'
        assert page.evaluate(outline) == 'solid'

    page.keyboard.press('Tab')
    expect(page.locator(':focus')).to_have_text('Skip to content')
    tab_to('Tasks')
    page.keyboard.press('Enter')
    expect(page.locator('[aria-current=page]')).to_have_text('Tasks')
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')  # skips to the content
    page.keyboard.press('Tab')
    expect(page.locator(':focus')).to_have_attribute('name', 'state')
    tab_to(task_id)
    page.keyboard.press('Enter')
    expect(page.locator('.title + p')).to_have_text(task_id)


def test_the_dark_scheme_is_dark(open_page: Open, results: Results) -> None:
    results.stored(ValueError('no such order'), states.FAILURE)
    page = open_page(color_scheme='dark')
    colour = 'getComputedStyle(document.body).getPropertyValue("{}").match(/\\d+/g).map(Number)'
    assert max(page.evaluate(colour.format('background-color'))) < 50
    assert min(page.evaluate(colour.format('color'))) > 200


def test_an_open_page_is_live_and_keeps_what_somebody_reads(
    open_page: Open, results: Results
) -> None:
    first = results.sent('first')
    page = open_page('/tasks', viewport={'width': 1000, 'height': 120})
    page.get_by_role('link', name=first).focus()
    page.evaluate('scrollTo(0, 200)')
    results.sent('second')
    look_again(page)
    expect(page.get_by_text('second')).to_be_visible()
    assert page.evaluate('[scrollY, document.activeElement.innerText]') == [200, first]

    results.sent('third')
    page.get_by_label('Task').fill('half a na')
    requests: list[str] = []
    page.on('request', lambda request: requests.append(request.url))
    look_again(page)
    page.get_by_role('link', name=first).focus()
    page.evaluate('getSelection().selectAllChildren(document.querySelector("h1"))')
    look_again(page)
    assert requests == []
    expect(page.get_by_label('Task')).to_have_value('half a na')
    page.evaluate('getSelection().empty()')
    look_again(page)
    expect(page.get_by_text('third')).to_be_visible()


def test_an_open_page_says_when_the_server_is_unavailable(
    open_page: Open, results: Results
) -> None:
    page = open_page()
    page.route('**/*', lambda route: route.fulfill(body='a page of a proxy'))
    look_again(page)
    expect(page.get_by_text('The web server does not answer')).to_be_visible()
    page.unroute('**/*')
    look_again(page)
    expect(page.get_by_text('The web server does not answer')).to_be_hidden()
