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
from xml.etree import ElementTree

import pytest

from app.web.process_metrics import ProcessCollector
from benchmarks.__main__ import main
from benchmarks.backlog import copies
from benchmarks.contenders import CONTENDERS, ENV, Contender, redis_missing
from benchmarks.demands import verdicts
from benchmarks.figures import figures
from benchmarks.http_count import RequestCounter
from benchmarks.measures import consume
from benchmarks.processes import Site
from benchmarks.records import Recorder, Records
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


@pytest.mark.parametrize('encoded', [True, False], ids=['base64', 'plain'])
def test_a_backlog_is_of_tasks_with_ids_of_their_own(encoded: bool) -> None:
    headers = {'id': 'an-id', 'root_id': 'an-id', 'task': 'noop'}
    message = {
        'body': 'W10=',
        'headers': headers,
        'properties': {'correlation_id': 'an-id', 'delivery_tag': 'a-tag'},
    }
    text = json.dumps(message)
    original = base64.b64encode(text.encode()).decode() if encoded else text
    made = [
        json.loads(base64.b64decode(copy) if encoded else copy) for copy in copies(original, 100)
    ]
    for copy in made:
        task_id, tag = copy['headers']['id'], copy['properties']['delivery_tag']
        as_before = json.loads(json.dumps(copy).replace(task_id, 'an-id').replace(tag, 'a-tag'))
        assert as_before == message
    assert len({copy['headers']['id'] for copy in made}) == 100
    assert len({copy['properties']['delivery_tag'] for copy in made}) == 100


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
    found = figures(
        [
            consumed('ours', 100.0, requests={'ReceiveMessage': 10, 'DeleteMessageBatch': 12}),
            consumed('ours', 300.0, cpu=None, requests={'ReceiveMessage': 14, 'ListQueues': 9}),
            consumed('ours', 900.0, repeated=2, memory=60.0),
            consumed('ours', 1.0) | {'rtt': 0.0},
            sample('ours', 'latency', seconds=[0.001, 0.002]),
            sample('ours', 'latency', seconds=[0.003]),
            sample('ours', 'batch', rate=50.0, tasks=20, requests={'SendMessageBatch': 2}),
        ],
        rtt=10.0,
    )['ours']
    assert found['consume'] == 300.0
    assert (found['cpu'], found['memory'], found['repeated']) == (1.0, 60.0, 2)
    assert found['requests'] == 36 / 300
    assert (found['receives'], found['deletes']) == (24 / 300, 12 / 300)
    assert found['p50'] == pytest.approx(2.0)
    assert (found['batch'], found['batch_requests']) == (50.0, 0.1)


def test_metrics_are_judged_by_the_median_pair() -> None:
    pairs = [
        {'on': 90.0, 'off': 100.0, 'on_cpu': 1.1, 'off_cpu': 1.0},
        {'on': 500.0, 'off': 100.0, 'on_cpu': None, 'off_cpu': 1.0},
        {'on': 190.0, 'off': 200.0, 'on_cpu': 1.3, 'off_cpu': 1.0},
    ]
    found = figures([sample('ours', 'overhead', pairs=pairs) | {'rtt': 0.0}], 0.0)
    assert found['ours'] == pytest.approx({'with_metrics': 0.95, 'with_metrics_cpu': 1.2})


def test_demands_are_judged_by_ratios_within_one_run() -> None:
    samples = [consumed('ours', 1000.0, cpu=0.4), consumed('tuned', 50.0, cpu=1.0)]
    judged = {
        verdict.demand.label: (verdict.outcome, verdict.value)
        for verdict in verdicts({10.0: figures(samples, 10.0)})
    }
    assert judged['consume vs stock tuned'] == ('reached', 20.0)
    assert judged['CPU per task vs stock tuned'] == ('missed', 0.4)
    assert judged['idle latency p50 vs stock default'] == ('unmeasured', None)


def test_redis_is_left_out_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    assert redis_missing() == 'no redis-server on PATH'


def test_a_short_run_counts_every_task_and_request(tmp_path: Path) -> None:
    chosen = ['--only', 'consume,latency,publish,batch', '--contenders', 'ours']
    status = main(['--rtt', '1', '--rounds', '1', '--part', PART, *chosen, '--out', str(tmp_path)])
    found = json.loads((tmp_path / 'latest.json').read_text())
    assert (status, found['left_out']) == (0, {})
    samples = {one['measure']: one for one in found['samples']}

    consumed = samples['consume']
    assert (consumed['tasks'], consumed['repeated']) == (60, 0)
    requests = consumed['requests']
    # Ten messages a request at most.
    assert requests['ReceiveMessage'] >= 6
    assert requests['DeleteMessageBatch'] in range(6, 60)
    assert found['figures']['1']['ours']['receives'] == requests['ReceiveMessage'] / 60
    assert len(samples['latency']['seconds']) == 2

    published, batched = samples['publish'], samples['batch']
    assert published['requests']['SendMessage'] == published['tasks']
    warm_up = batched['requests']['SendMessage']
    assert batched['requests']['SendMessageBatch'] == (batched['tasks'] - warm_up) / 10

    ElementTree.parse(tmp_path / 'latest.svg')
    assert '| SQS requests per task, backlog | 1 |' in (tmp_path / 'latest.md').read_text()


def test_at_no_delay_requests_are_counted_apart(tmp_path: Path) -> None:
    chosen = ['--only', 'consume,requests', '--contenders', 'tuned']
    assert (
        main(['--rtt', '0', '--rounds', '1', '--part', PART, *chosen, '--out', str(tmp_path)]) == 0
    )
    consumed, counted = json.loads((tmp_path / 'latest.json').read_text())['samples']
    assert (consumed['tasks'], consumed['requests']) == (40, {})
    assert counted['requests']['DeleteMessage'] == counted['tasks'] == 20


@pytest.mark.parametrize('metrics', [True, False], ids=['with metrics', 'without'])
def test_a_worker_counts_or_does_not(sqs: SqsServer, tmp_path: Path, metrics: bool) -> None:
    queue = f'{ENV}-{uuid.uuid4().hex}'
    site = Site(CONTENDERS['ours'], sqs.url, (queue,), tmp_path, metrics=metrics)
    consumed, _ = consume(site, Broker(sqs, None), 4)
    assert consumed.tasks == 4
    values = samples(ProcessCollector(site.metrics_folder).collect())
    succeeded = [v for (_, labels), v in values.items() if ('state', 'SUCCESS') in labels]
    assert sum(succeeded) == (2 * 4 if metrics else 0)  # attempts, and tasks
    polls = [v for (name, _), v in values.items() if name.endswith('_transport_polls_total')]
    assert bool(sum(polls)) is metrics


def test_metrics_are_measured_on_and_off_and_after_recycling(tmp_path: Path) -> None:
    chosen = ['--only', 'overhead,recycled', '--contenders', 'ours', '--part', '0.003']
    assert main(['--rtt', '0', '--rounds', '1', *chosen, '--out', str(tmp_path)]) == 0
    overhead, recycled = json.loads((tmp_path / 'latest.json').read_text())['samples']
    (pair,) = overhead['pairs']
    assert min(pair['on'], pair['off']) > 0
    assert (recycled['children'], recycled['lost']) == (3, 0)
    assert min(recycled['fresh'], recycled['recycled'], recycled['recycled_files']) > 0
    judged = (tmp_path / 'latest.md').read_text()
    assert '| counts lost by recycling | 0 | ≤ 0 | 0.000 | reached |' in judged


def test_a_step_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONTENDERS, 'broken', Contender('broken', 'a broken one'))
    chosen = ['--only', 'publish', '--contenders', 'broken,default', '--part', PART]
    assert main(['--rtt', '0', '--rounds', '1', *chosen, '--out', str(tmp_path)]) == 1
    found = json.loads((tmp_path / 'latest.json').read_text())
    assert [one['contender'] for one in found['samples']] == ['default']
    assert list(found['left_out']) == ['RTT 0 ms, round 1: a broken one, publish']
    assert 'a broken one, publish failed' in capsys.readouterr().out
