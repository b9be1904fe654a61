"""The code of docs/how-to/migrate.md: stock Celery and this library side by side."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from be_queue.naming import dead_letter_name
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.site import Site, Worker
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from template.conftest import ROOT

PAGE = (ROOT / 'docs' / 'how-to' / 'migrate.md').read_text()
OLD, SWAPPED, ROUTES, MAPPED = (
    textwrap.dedent(block)
    for block in re.findall(r'^ *```python\n(.*?)^ *```', PAGE, re.MULTILINE | re.DOTALL)
)
STATUS, MIGRATE = ('be-queue -A shop status', 'be-queue migrate')
#: Tasks of a producer, two of them the header of a chord.
SENDS = """
from celery import chord
from shop import app, charge

sent = [charge.delay(n) for n in range(40)]
total = chord([charge.s(1), charge.s(2)])(charge.s())
assert [each.get(timeout=90) for each in sent] == [f'charged {n}' for n in range(40)]
assert total.get(timeout=90) == "charged ['charged 1', 'charged 2']"
"""
#: Short, so that what a killed worker has held comes back soon.
VISIBILITY = {"'visibility_timeout': 1800": "'visibility_timeout': 5"}
VISIBILITY |= {"'visibility_timeout': 60": "'visibility_timeout': 5"}

MakeShop = Callable[..., 'Shop']


class Shop:
    """The page's app, in a folder of its own.

    Arguments:
        code: of its module shop.py.
        changes: texts of the code, and what stands there instead.
    """

    def __init__(
        self, site: Site, postgres: PostgresServer, code: str, changes: dict[str, str]
    ) -> None:
        self.queue = f'{site.username}-shop'
        for text, instead in ({'prod-shop': self.queue} | changes).items():
            code = code.replace(text, instead)
        folder = site.folder / f'shop-{len(list(site.folder.iterdir()))}'
        folder.mkdir()
        (folder / 'shop.py').write_text(code)
        self._site = site
        self._variables = {
            'PYTHONPATH': str(folder),
            'CELERY_BROKER_URL': site.environment['SQS_ENDPOINT_URL'].replace('http:', 'sqs:'),
            'CELERY_RESULT_BACKEND': postgres.backend_url,
        }

    def worker(self) -> AbstractContextManager[Worker]:
        return self._site.worker('--concurrency=2', app='shop', **self._variables)

    def starts(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command],
            env=self._site.environment | self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def python(self, code: str) -> str:
        return finished(self.starts('-c', code))

    def operates(self, command: str, status: int = 0) -> str:
        """Run a command `be-queue`."""
        return finished(self.starts('-m', 'be_queue.cli', *command.split()[1:]), status)


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    shown, _ = process.communicate(timeout=150)
    assert process.returncode == status, shown
    return shown


@pytest.fixture
def shop(site: Site, postgres: PostgresServer) -> MakeShop:
    def made(code: str, **changes: str) -> Shop:
        return Shop(site, postgres, code, VISIBILITY | changes)

    # Workers that make the tables at the same time are a fault of their own.
    made(OLD).python("from shop import app; app.backend.get_state('none')")
    return made


def redrive_policy(sqs: SqsServer, queue: str) -> str:
    client = sqs.client()
    url = client.get_queue_url(QueueName=queue)['QueueUrl']
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])
    return str(answer['Attributes'].get('RedrivePolicy', ''))


@pytest.mark.timeout(400)
def test_both_share_a_queue_there_and_back(shop: MakeShop, sqs: SqsServer) -> None:
    old, new = shop(OLD), shop(OLD + SWAPPED)
    with old.worker() as first, new.worker() as second:
        for process in [each.starts('-c', SENDS) for each in (old, new)]:
            finished(process)
        for worker in (first, second):
            wait_until(lambda worker=worker: ' succeeded in ' in worker.log, 'each has run some')
        first.signal(signal.SIGTERM)
        assert first.wait_ended(60) == 0
        old.python(SENDS)
        # Nothing about the queue is changed.
        assert f"queue '{old.queue}' has no redrive policy" in second.log
        assert redrive_policy(sqs, old.queue) == ''
        assert 'aws sqs set-queue-attributes' in new.operates('be-queue -A shop doctor', status=1)
        second.signal(signal.SIGTERM)
        assert second.wait_ended(60) == 0
    with old.worker():
        new.python(SENDS)
        wait_until(
            lambda: sqs.visible(old.queue) == sqs.in_flight(old.queue) == 0, 'all is deleted'
        )


@pytest.mark.parametrize('way', ['there', 'back'])
@pytest.mark.timeout(300)
def test_a_task_for_later_changes_hands(shop: MakeShop, sqs: SqsServer, way: str) -> None:
    old, new = shop(OLD), shop(OLD + SWAPPED)
    with old.worker():
        pass  # it makes the queue

    def waits() -> bool:
        if way == 'there':
            return sqs.in_flight(old.queue) == 1
        delayed = sqs._count(old.queue, 'ApproximateNumberOfMessagesDelayed')
        return (delayed, sqs.in_flight(old.queue)) == (1, 0)

    before, after = (old, new) if way == 'there' else (new, old)
    with before.worker():
        code = 'from shop import charge; import time; print(charge.apply_async((1,), countdown=20))'
        task_id = old.python(code).strip()
        wait_until(waits, 'it waits', timeout=30)
    with after.worker() as worker:
        get = f"from shop import app; r = app.AsyncResult('{task_id}'); print(r.get(timeout=120))"
        assert after.python(get) == 'charged 1\n'
        assert worker.log.count(' succeeded in ') == 1


def test_stock_producers_send_to_the_template_s_worker(
    shop: MakeShop, site: Site, sqs: SqsServer
) -> None:
    name = site.queue('add')
    old = shop(OLD + ROUTES, **{'prod-payments-charge': name, "'charge': {": "'add': {"})
    code = "from shop import app; print(app.send_task('add', (1, 2)).id)"
    task_id = old.python(code).strip()
    assert redrive_policy(sqs, name) == ''
    with site.worker():
        get = f"from shop import app; print(app.AsyncResult('{task_id}').get(timeout=60))"
        assert old.python(get) == '3\n'
        assert dead_letter_name(name) in redrive_policy(sqs, name)
        platform = f'{site.username}-local-platform.fifo'
        assert sqs.visible(platform) == sqs.in_flight(platform) == 0


def test_new_producers_send_to_a_stock_worker(shop: MakeShop, site: Site, sqs: SqsServer) -> None:
    old, new = shop(OLD), shop(MAPPED, **{"env='prod'": f"env='{site.username}'"})
    with old.worker() as worker:
        get = "print(app.send_task('charge', (7,)).get(timeout=60))"
        assert new.python(f'from shop import app; {get}') == 'charged 7\n'
        wait_until(lambda: sqs.in_flight(old.queue) == 0, 'it is deleted')
    assert 'Traceback' not in worker.log
    assert old.queue in shop(OLD + SWAPPED).operates(STATUS)


def test_the_commands_of_the_page_are_run() -> None:
    # MIGRATE on tables of stock Celery: be-queue/tests/integration/test_migrations.py.
    blocks = re.findall(r'^ *```sh\n(.*?)^ *```', PAGE, re.MULTILINE | re.DOTALL)
    assert {line.strip() for block in blocks for line in block.splitlines()} == {STATUS}
    assert f'`{MIGRATE}`' in PAGE
