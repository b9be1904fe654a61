"""docs/cost.md counts the requests that are really sent, and adds them up right."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import uuid
from collections import Counter, defaultdict
from decimal import ROUND_HALF_UP, Decimal
from itertools import takewhile
from pathlib import Path

import pytest
from celery import Celery

from app.config.queues import QUEUES
from be_queue import Config, Queue, Queues, send_batch
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.history import migrate
from be_queue.worker.web.depths import DepthPoller
from benchmarks.contenders import CONTENDERS
from benchmarks.site import Site as BenchmarkSite
from tests.support.faulty import FaultySqs, Handler, faulty_sqs, queue_of
from tests.support.process import ROOT, running
from tests.support.worker import Site

PAGE = (ROOT / 'docs' / 'cost.md').read_text()
#: Dollars per million requests.
PRICES = {'standard': Decimal('0.40'), 'FIFO': Decimal('0.50')}
ADD, SLOW, CELERY, PLATFORM = (
    *(f'stage-python-backend-worker-template-{name}' for name in ('add', 'slow')),
    *('stage-celery', 'stage-platform.fifo'),
)
SEND, SEND_BATCH = 'send, with `delay` or `send_task`', 'send, with `send_batch`'
COPY, COPY_BATCH = (
    f'copy for the platform queue, with {how}' for how in ('`delay` or `send_task`', '`send_batch`')
)
MONITOR = 'monitor: receive and delete the copies of a backlog'
MONITOR_SINGLE = 'monitor: receive and delete single copies'
WORK, WORK_SINGLE, STOCK, STOCK_SINGLE = (
    f'{who}: receive and delete {tasks}'
    for who in ('work', 'stock Celery')
    for tasks in ('short tasks of a backlog', 'single tasks')
)
STOCK_SEND, STOCK_TUNED = 'stock Celery: send', 'stock Celery, tuned: the same'
#: The rows of the page that make its sums.
SUMS: dict[str, list[list[str]]] = {
    '`delay`, backlog': [[SEND, COPY, MONITOR, WORK], [SEND, WORK], [STOCK_SEND, STOCK]],
    '`delay`, single tasks': [
        [SEND, COPY, MONITOR_SINGLE, WORK_SINGLE],
        [SEND, WORK_SINGLE],
        [STOCK_SEND, STOCK_SINGLE],
    ],
    '`send_batch`, backlog': [
        [SEND_BATCH, COPY_BATCH, MONITOR, WORK],
        [SEND_BATCH, WORK],
        [],
    ],
}
#: As many as make batches of ten.
BACKLOG = 400
#: Tasks that are sent one by one.
SINGLE = 5
DAY = 24 * 3600


def table(*columns: str) -> dict[str, list[str]]:
    """Return the rows of the page's table with these columns, by their first cell."""
    lines = iter(PAGE.splitlines())
    assert '| ' + ' | '.join(columns) + ' |' in lines  # which leads there
    rows = [line.strip('|').split('|') for line in takewhile(str, lines)][1:]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in rows}


def cents(dollars: Decimal) -> Decimal:
    return dollars.quantize(Decimal('0.01'), ROUND_HALF_UP)


TASKS = table('what', 'queue', 'requests per task', 'dollars')
IDLE = table('what', 'every', 'requests a day', 'dollars a month')


def per_task(what: str) -> float:
    return float(TASKS[what][1])


class Polls:
    """Watches the receives that pass a proxy, by queue."""

    def __init__(self, proxy: FaultySqs) -> None:
        #: How many there were with each WaitTimeSeconds.
        self.waits: defaultdict[str, Counter[int]] = defaultdict(Counter)
        #: How many returned messages.
        self.filled: Counter[str] = Counter()
        #: The most that were in flight at a time.
        self.most: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._counting = threading.Lock()
        proxy.fail('ReceiveMessage', self._pass_on)

    def _pass_on(self, handler: Handler) -> None:
        request = json.loads(handler.body)
        queue = queue_of(request)
        with self._counting:
            self._in_flight[queue] += 1
            self.most[queue] = max(self.most[queue], self._in_flight[queue])
            self.waits[queue][request['WaitTimeSeconds']] += 1
        status, body = handler.forward()
        with self._counting:
            self.filled[queue] += bool(json.loads(body).get('Messages'))
            self._in_flight[queue] -= 1
        handler.answer(status, body)

    def check_idle(self, queue: str, what: str) -> None:
        """Compare what is sent while the queue is empty with the page: one receive at a time."""
        wait_until(lambda: self._in_flight[queue] <= 1, 'no more than one is in flight', 60)
        self.waits[queue].clear()
        self.most[queue] = 0
        wait_until(lambda: self.waits[queue].total() >= 2, f'{queue} is polled', 90)
        (seconds,) = self.waits[queue]
        assert f'{seconds} s' == IDLE[what][0]
        assert self.most[queue] == 1


def producer(url: str) -> Celery:
    queues = Queues(Queue(queue_name=q.queue_name, task=q.task) for q in QUEUES)
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues.build_celery('stage'), SQS_ENDPOINT_URL=url))
    return app


def test_the_page_adds_up() -> None:
    prices = re.findall(r'^\| (standard|FIFO) \| ([\d.]+) \|$', PAGE, re.MULTILINE)
    assert {queue: Decimal(price) for queue, price in prices} == PRICES
    costs = {}
    for what, (queue, requests, dollars) in TASKS.items():
        costs[what] = Decimal(requests) * PRICES[queue]
        assert cents(costs[what]) == Decimal(dollars), what

    sums = {what: [sum(costs[one] for one in parts) for parts in row] for what, row in SUMS.items()}
    assert table(
        'what', 'platform queue and monitor', 'without a platform queue', 'stock Celery'
    ) == {what: [str(cents(one)) if one else '' for one in row] for what, row in sums.items()}
    idle = {}
    for what, (every, requests, dollars) in IDLE.items():
        at_once = 2 if 'two requests' in what else 1
        idle[what] = int(requests.replace(',', ''))
        assert idle[what] == at_once * DAY / int(every.removesuffix(' s'))
        price = PRICES['FIFO' if what.endswith('FIFO') else 'standard']
        assert cents(30 * idle[what] * price / 10**6) == Decimal(dollars), what
    polls, depths, probes, *_ = idle.values()
    manifest = (ROOT / 'deploy/kubernetes/base/worker/worker.yaml').read_text()
    assert DAY / probes == int(
        re.search(r'readinessProbe:.*?periodSeconds: (\d+)', manifest, re.DOTALL)[1]
    )
    consumed = len(list(QUEUES)) + 1
    total = consumed * polls + (consumed + 1) * depths + probes
    total_said = f'{consumed} * {polls:,} + {consumed + 1} * {depths:,} + {probes:,} = {total:,}'
    assert total_said in PAGE.replace('\N{MULTIPLICATION SIGN}', '*')
    assert f'{cents(30 * total * PRICES["standard"] / 10**6)} dollars in a month' in PAGE


def test_the_page_has_the_benchmarks_figures() -> None:
    latest = json.loads((ROOT / 'be-queue' / 'benchmarks' / 'results' / 'latest.json').read_text())
    measured = latest['figures']['10']
    for what, contender in {WORK: 'ours', STOCK: 'default', STOCK_TUNED: 'tuned'}.items():
        assert per_task(what) == pytest.approx(measured[contender]['requests'], rel=0.05)


@pytest.mark.timeout(600)
def test_requests_are_those_of_the_page(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    migrate(Celery(backend=postgres.backend_url, set_as_current=False))
    site = Site(tmp_path, sqs.url, postgres.environment)
    site.environment |= {'ENV': 'stage', 'SERVER_HOST': '127.0.0.1'}
    direct, signature = producer(sqs.url), ('add', (1, 2))

    def is_empty(queue: str) -> bool:
        return sqs.visible(queue) == sqs.in_flight(queue) == 0

    def single(proxy: FaultySqs, polls: Polls, queue: str) -> float:
        """Send tasks one by one; return the receives with messages and deletes for each."""

        def used() -> tuple[int, int]:
            return polls.filled[queue], proxy.asked['DeleteMessageBatch', queue]

        before = used()
        for number in range(1, SINGLE + 1):
            direct.send_task(*signature)
            wait_until(lambda n=number: used()[1] == before[1] + n, 'it is deleted', 60)
        return (sum(used()) - sum(before)) / SINGLE

    with faulty_sqs(sqs.port) as proxy:
        app = producer(proxy.url)
        for _ in range(10):
            app.send_task(*signature)
        send_batch(app, [app.signature(*signature) for _ in range(BACKLOG)])
        asked = proxy.asked
        for queue, one, ten in ((ADD, SEND, SEND_BATCH), (PLATFORM, COPY, COPY_BATCH)):
            assert asked['SendMessage', queue] == 10 * per_task(one)
            assert asked['SendMessageBatch', queue] == BACKLOG * per_task(ten)

    with faulty_sqs(sqs.port) as proxy:
        polls = Polls(proxy)
        variables = site.environment | {'SQS_ENDPOINT_URL': proxy.url}
        with running(('-m', 'app.monitor'), variables, tmp_path / 'monitor'):
            wait_until(lambda: is_empty(PLATFORM), 'the copies are deleted', 90)
            asked = proxy.asked
            used = polls.filled[PLATFORM] + asked['DeleteMessageBatch', PLATFORM]
            assert used / (BACKLOG + 10) == pytest.approx(per_task(MONITOR), rel=0.1)
            assert single(proxy, polls, PLATFORM) == per_task(MONITOR_SINGLE)
            polls.check_idle(PLATFORM, 'monitor: a receive, FIFO')

    with faulty_sqs(sqs.port) as proxy:
        polls = Polls(proxy)
        with site.server(SQS_ENDPOINT_URL=proxy.url, QUEUE_DEPTH_INTERVAL=0) as server:
            wait_until(lambda: is_empty(ADD), 'the backlog is worked off', 90)
            # A slow machine makes small batches: for the figure see the benchmark.
            deletes = proxy.asked['DeleteMessageBatch', ADD]
            assert 0.2 <= (polls.filled[ADD] + deletes) / (BACKLOG + 10 + SINGLE) < 2
            assert single(proxy, polls, ADD) == per_task(WORK_SINGLE)
            for queue in (ADD, CELERY):
                polls.check_idle(queue, 'worker: a receive, for each queue that it consumes')

            (command,) = re.findall(r'^curl .*$', PAGE, re.MULTILINE)
            command = command.replace('http://127.0.0.1:8080', server.url)
            shown = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
            counts = dict(re.findall(r'operation="(\w+)",status="ok"} (\d+)', shown.stdout))
            assert int(counts['DeleteMessageBatch']) == proxy.requests['DeleteMessageBatch']

            before, probes = proxy.requests['GetQueueAttributes'], 0
            while proxy.requests['GetQueueAttributes'] < before + 2:
                server.get('/readyz')
                probes += 1
            assert probes >= 2

    with faulty_sqs(sqs.port) as proxy:
        poller = DepthPoller(producer(proxy.url), 'p', [ADD, SLOW, PLATFORM])
        poller.poll(0)
        before = proxy.requests.total()
        poller.poll(0)
        assert proxy.requests.total() - before == 2 * 3

    with faulty_sqs(sqs.port) as proxy:
        polls = Polls(proxy)
        queue = f'bench-{uuid.uuid4().hex}'
        stock = BenchmarkSite(CONTENDERS['default'], proxy.url, (queue,), tmp_path)
        with stock.worker():
            stock.produce('latency', str(SINGLE))
            asked = proxy.asked
            sent = asked['SendMessage', queue]
            wait_until(lambda: asked['DeleteMessage', queue] == sent, 'all are deleted', 60)
            assert sent >= SINGLE * per_task(STOCK_SEND)
            assert polls.filled[queue] + sent == sent * per_task(STOCK_SINGLE)
            polls.check_idle(queue, 'stock Celery: a receive, for each queue that it consumes')
