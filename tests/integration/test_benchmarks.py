"""The benchmarks work, and count right; how fast anything is has no place here."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.web.metrics import ProcessCollector
from benchmarks.__main__ import main
from benchmarks.backlog import copies
from benchmarks.contenders import CONTENDERS, ENV, Contender, redis_missing
from benchmarks.delay_proxy import RequestCounter
from benchmarks.figures import figures
from benchmarks.measures import consume
from benchmarks.processes import Site
from benchmarks.records import Recorder, Records
from benchmarks.report import Report
from benchmarks.servers import Broker, running_proxy
from tests.support.samples import samples
from tests.support.sqs import SqsServer

#: Of a full run.
PART = '0.02'


def request(operation: str, body: bytes) -> bytes:
    headers = f'POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n'
    return f'{headers}Content-Length: {len(body)}\r\n\r\n'.encode() + body


def test_requests_are_counted_wherever_the_stream_is_cut() -> None:
    stream = request('SendMessage', b'{"a": 1}') + request('ReceiveMessage', b'')
    # A body that looks like a request is none.
    stream += request('DeleteMessageBatch', b'\r\nX-Amz-Target: AmazonSQS.Fake\r\n\r\n')
    for size in range(1, len(stream) + 1):
        counts: Counter[str] = Counter()
        counter = RequestCounter(counts)
        for start in range(0, len(stream), size):
            counter.feed(stream[start : start + size])
        assert counts == {'SendMessage': 1, 'ReceiveMessage': 1, 'DeleteMessageBatch': 1}, size


def test_the_proxy_delays_and_counts_each_request(sqs: SqsServer) -> None:
    rtt = 0.05
    with running_proxy(sqs.port, rtt * 1000) as proxy:
        client = SqsServer(proxy.port).client()
        url = client.create_queue(QueueName=f'q{uuid.uuid4().hex}')['QueueUrl']
        started = time.monotonic()
        for _ in range(4):
            client.send_message(QueueUrl=url, MessageBody='x')
        assert time.monotonic() - started >= 4 * rtt
        assert proxy.counts() == {'CreateQueue': 1, 'SendMessage': 4}


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, once the first bytes of both connections are there."""

    both = threading.Barrier(2)

    def handle(self) -> None:
        data = self.request.recv(65536)
        self.both.wait(timeout=30)
        while data:
            self.request.sendall(data)
            data = self.request.recv(65536)


@contextmanager
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_the_proxy_keeps_the_order_and_lets_connections_go_side_by_side() -> None:
    sent = b''.join(number.to_bytes(4, 'big') for number in range(100_000))
    answers: list[bytes] = []

    def exchange(port: int) -> None:
        with socket.create_connection(('127.0.0.1', port), timeout=30) as connection:
            writer = threading.Thread(target=connection.sendall, args=(sent,))
            writer.start()
            answer = b''
            while len(answer) < len(sent) and (data := connection.recv(65536)):
                answer += data
            writer.join()
        answers.append(answer)

    with echo() as port, running_proxy(port, 5) as proxy:
        clients = [threading.Thread(target=exchange, args=(proxy.port,)) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert answers == [sent, sent]


def test_a_backlog_is_of_tasks_with_ids_of_their_own() -> None:
    headers = {'id': 'an-id', 'root_id': 'an-id', 'task': 'noop'}
    message = {'body': 'W10=', 'headers': headers, 'properties': {'delivery_tag': 'a-tag'}}
    text = json.dumps(message)
    encoded = copies(base64.b64encode(text.encode()).decode(), 100)
    for made in ([base64.b64decode(copy) for copy in encoded], list(copies(text, 100))):
        found = [json.loads(copy) for copy in made]
        ids = {(one['headers']['id'], one['properties']['delivery_tag']) for one in found}
        assert len(ids) == 100
        assert all(one['headers']['root_id'] == one['headers']['id'] for one in found)


def test_a_task_that_runs_twice_counts_once_at_its_first_time(tmp_path: Path) -> None:
    records, task_ids = Records(tmp_path / 'records'), [str(uuid.uuid4()) for _ in range(2)]
    assert (records.count(), records.first_runs()) == (0, {})
    recorders = [Recorder(tmp_path / 'records') for _ in range(2)]
    recorders[0].add(task_ids[0], 1.0)
    recorders[1].add(task_ids[1], 2.0)
    recorders[1].add(task_ids[0], 3.0)
    assert records.count() == 3
    assert records.first_runs() == {task_ids[0]: 1.0, task_ids[1]: 2.0}


def sample(contender: str, measure: str, **values: Any) -> dict[str, Any]:
    return {'rtt': 10.0, 'round': 1, 'contender': contender, 'measure': measure} | values


def consumed(contender: str, rate: float, **values: Any) -> dict[str, Any]:
    defaults = {'tasks': 100, 'repeated': 0, 'stall': 0.5, 'cpu': 1.0, 'memory': 50.0}
    return sample(contender, 'consume', rate=rate, **{'requests': {}} | defaults | values)


def test_figures_are_medians_and_requests_totals() -> None:
    pairs = [
        {'on': 90.0, 'off': 100.0, 'on_cpu': 1.1, 'off_cpu': 1.0},
        {'on': 500.0, 'off': 100.0, 'on_cpu': None, 'off_cpu': 1.0},
        {'on': 190.0, 'off': 200.0, 'on_cpu': 1.3, 'off_cpu': 1.0},
    ]
    found = figures(
        [
            consumed('ours', 100.0, requests={'ReceiveMessage': 10, 'DeleteMessageBatch': 12}),
            consumed('ours', 300.0, cpu=None, requests={'ReceiveMessage': 14, 'ListQueues': 9}),
            consumed('ours', 900.0, repeated=2, memory=60.0),
            consumed('ours', 1.0) | {'rtt': 0.0},
            sample('ours', 'latency', seconds=[0.001, 0.002]),
            sample('ours', 'latency', seconds=[0.003]),
            sample('ours', 'batch', rate=50.0, tasks=20, requests={'SendMessageBatch': 2}),
            sample('ours', 'overhead', pairs=pairs),
        ],
        rtt=10.0,
    )['ours']
    assert found['consume'] == 300.0
    assert (found['cpu'], found['memory'], found['repeated']) == (1.0, 60.0, 2)
    assert found['requests'] == 36 / 300
    assert (found['receives'], found['deletes']) == (24 / 300, 12 / 300)
    assert found['p50'] == pytest.approx(2.0)
    assert (found['batch'], found['batch_requests']) == (50.0, 0.1)
    assert found['with_metrics'] == pytest.approx(0.95)
    assert found['with_metrics_cpu'] == pytest.approx(1.2)


def test_demands_are_judged_by_ratios_within_one_run() -> None:
    samples = [consumed('ours', 1000.0, cpu=0.4), consumed('tuned', 50.0, cpu=1.0)]
    report = Report({}, {10.0: figures(samples, 10.0)}, {})
    judged = {verdict.demand.label: (verdict.outcome, verdict.value) for verdict in report.verdicts}
    assert judged['consume vs stock tuned'] == ('reached', 20.0)
    assert judged['CPU per task vs stock tuned'] == ('missed', 0.4)
    assert judged['idle latency p50 vs stock default'] == ('unmeasured', None)
    assert '| consume vs stock tuned | 10 | ≥ 20 x | 20 x | reached |' in report.markdown()


def test_redis_is_left_out_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    assert redis_missing() == 'no redis-server on PATH'


@pytest.mark.timeout(300)
def test_a_short_run_counts_every_task_and_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run of every measure; a step that fails is named, and the others go on."""
    monkeypatch.setitem(CONTENDERS, 'broken', Contender('broken', 'a broken one', (9, 9)))
    measures = 'consume,latency,requests,publish,batch'
    names = 'ours,ours-results,broken'
    chosen = ['--only', measures, '--contenders', names, '--out', str(tmp_path)]
    assert main(['--rtt', '1', '--rtt', '0', '--rounds', '1', '--part', PART, *chosen]) == 1
    found = json.loads((tmp_path / 'latest.json').read_text())
    assert all('a broken one' in step for step in found['left_out'])
    assert 'a broken one, publish failed' in capsys.readouterr().out
    samples = {(one['rtt'], one['contender'], one['measure']): one for one in found['samples']}

    consumed = samples[1, 'ours', 'consume']
    assert (consumed['tasks'], consumed['repeated']) == (60, 0)
    # Ten messages a request at most.
    assert consumed['requests']['ReceiveMessage'] >= 6
    assert consumed['requests']['DeleteMessageBatch'] in range(6, 60)
    assert len(samples[1, 'ours', 'latency']['seconds']) == 2
    assert samples[0, 'ours-results', 'consume']['tasks'] == 60
    counted = samples[0, 'ours', 'requests']
    assert counted['tasks'] == 30
    assert counted['requests']['DeleteMessageBatch'] in range(3, 30)

    published, batched = samples[1, 'ours', 'publish'], samples[1, 'ours', 'batch']
    assert published['requests']['SendMessage'] == published['tasks']
    warm_up = batched['requests']['SendMessage']
    assert batched['requests']['SendMessageBatch'] == (batched['tasks'] - warm_up) / 10
    assert '| SQS requests per task, backlog | 1 |' in (tmp_path / 'latest.md').read_text()


@pytest.mark.parametrize('metrics', [True, False], ids=['with metrics', 'without'])
def test_a_worker_counts_or_does_not(sqs: SqsServer, tmp_path: Path, metrics: bool) -> None:
    queue = f'{ENV}-{uuid.uuid4().hex}'
    site = Site(CONTENDERS['ours'], sqs.url, (queue,), tmp_path, metrics=metrics)
    consumed, _ = consume(site, Broker(sqs, None), 4)
    assert consumed.tasks == 4
    values = samples(ProcessCollector(site.metrics_folder).collect())
    succeeded = [v for (_, labels), v in values.items() if ('state', 'SUCCESS') in labels]
    assert sum(succeeded) == (2 * 4 if metrics else 0)  # attempts, and tasks
