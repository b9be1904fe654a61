"""The benchmarks work, and count right; how fast anything is has no place here."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from benchmarks.__main__ import README, RESULTS, main
from benchmarks.backlog import copies
from benchmarks.contenders import CONTENDERS, ENV, Contender
from benchmarks.delay_proxy import RequestCounter
from benchmarks.measures import Step, publish, server, take
from benchmarks.memory import Backlog
from benchmarks.records import Recorder, Records
from benchmarks.report import demands, figures, markdown, readme, with_table
from benchmarks.servers import Broker, running_proxy
from benchmarks.site import Site


def request(operation: str, body: bytes) -> bytes:
    headers = f'POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n'
    return f'{headers}Content-Length: {len(body)}\r\n\r\n'.encode() + body


def test_requests_are_counted_wherever_the_stream_is_cut() -> None:
    stream = request('SendMessage', b'{"a": 1}') + request('ReceiveMessage', b'')
    # A body that looks like a request is none.
    stream += request('DeleteMessageBatch', b'"\\r\\nX-Amz-Target: AmazonSQS.Fake\\r\\n"')
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
    memory = {'child_uss': 30.0}
    defaults = {'tasks': 100, 'repeated': 0, 'cpu': 1.0, 'memory': memory, 'start': 1.5}
    return sample(contender, 'consume', rate=rate, **{'requests': {}} | defaults | values)


def test_figures_are_medians_and_requests_totals() -> None:
    found = figures(
        [
            consumed('ours', 100.0, requests={'ReceiveMessage': 10, 'DeleteMessageBatch': 12}),
            consumed('ours', 300.0, cpu=None, requests={'ReceiveMessage': 14, 'ListQueues': 9}),
            consumed('ours', 900.0, repeated=2),
            consumed('ours', 1.0) | {'rtt': 0.0},
            sample('ours', 'latency', seconds=[0.001, 0.002]),
            sample('ours', 'latency', seconds=[0.003]),
            sample('ours', 'batch', rate=50.0, tasks=20, requests={'SendMessageBatch': 2}),
        ],
        rtt=10.0,
    )['ours']
    assert found == {
        'consume': 300.0,
        'cpu': 1.0,
        'repeated': 2,
        'start': 1.5,
        'child_uss': 30.0,
        'requests': 36 / 300,
        'receives': 24 / 300,
        'deletes': 12 / 300,
        'p50': pytest.approx(2.0),
        'p99': pytest.approx(2.98),
        'batch': 50.0,
        'batch_requests': 0.1,
    }


def test_demands_are_judged_by_ratios_within_one_run() -> None:
    samples = [consumed('ours', 1000.0, cpu=0.4), consumed('tuned', 50.0, cpu=1.0)]
    samples += [consumed('floor', 2000.0)]
    found = {10.0: figures(samples, 10.0)}
    judged = {one['label']: (one['outcome'], one['value']) for one in demands(found)}
    assert judged['consume vs stock tuned'] == ('reached', 20.0)
    assert judged['CPU per task vs stock tuned'] == ('missed', 0.4)
    assert judged['idle latency p50 vs stock default'] == ('unmeasured', None)
    text = markdown({}, found, {})
    assert '| consume vs stock tuned | 10 | ≥ 20 x | 20 x | reached |' in text
    assert '| consume, tasks/s | 1,000 | 50.0 (20x) | 2,000 (0.50x) |' in text
    assert '| consume, of the floor | 0.50 | 0.03 | 1.00 |' in text


def test_the_table_of_the_readme_shows_who_is_ahead() -> None:
    samples = [
        consumed('ours', 1000.0, start=1.0) | {'rtt': 0.0},
        consumed('tuned', 50.0, start=0.9) | {'rtt': 0.0},
        consumed('redis', 1049.0, start=0.99) | {'rtt': 0.0},
    ]
    lines = readme({0.0: figures(samples, 0.0)}).splitlines()
    assert '| tasks run per second | 1,000 |  | 50 | 1,049 |' in lines
    assert '| start of the worker to its first task | 1.0 s |  | **0.9 s** | 1.0 s |' in lines
    assert not [line for line in lines if line.startswith('| sent')]


def test_the_readme_has_the_figures_of_the_latest_run() -> None:
    """``make bench`` writes both."""
    found = json.loads((RESULTS / 'latest.json').read_text())['figures']
    page = README.read_text()
    assert with_table(page, readme({float(rtt): one for rtt, one in found.items()})) == page


def test_a_worker_is_measured_with_its_results_and_metrics(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    queues = (f'{ENV}-{uuid.uuid4().hex}',)
    step = Step(1.0, 1, CONTENDERS['ours'], ('consume', 'latency'))
    with running_proxy(sqs.port, step.rtt) as proxy:
        broker = Broker(sqs, proxy)
        site = Site(step.contender, broker.url, queues, tmp_path, postgres.direct_backend_url)
        consumed, latency = take(step, site, broker, 0.02)

    assert (consumed['tasks'], consumed['repeated']) == (60, 0)
    # Ten messages a request at most.
    assert consumed['requests']['ReceiveMessage'] >= 6
    assert 6 <= consumed['requests']['DeleteMessageBatch'] <= 60
    assert len(latency['seconds']) == 1
    found = figures([{'rtt': 1.0, 'contender': 'ours'} | one for one in (consumed, latency)], 1.0)
    assert found['ours'].keys() >= {'consume', 'receives', 'requests'}
    with postgres.connect() as connection:
        stored = connection.execute(
            "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS' AND task_id = ANY(%s)",
            (list(site.records.first_runs()),),
        ).fetchone()
    assert stored is not None
    assert stored[0] >= 60  # those of the latency may have been cut short
    assert list((tmp_path / 'metrics').glob('*.db'))
    assert consumed['start'] > 0
    # Memory that a process shares counts too.
    for process in ('main', 'child'):
        assert 0 < consumed['memory'][f'{process}_uss'] < consumed['memory'][f'{process}_pss']


def test_the_floor_is_celery_fed_from_memory(tmp_path: Path) -> None:
    step = Step(0.0, 1, CONTENDERS['floor'], ('consume',))
    broker = Broker(Backlog(tmp_path / 'backlog'))
    queues = (f'{ENV}-{uuid.uuid4().hex}',)
    (consumed,) = take(step, Site(step.contender, broker.url, queues, tmp_path), broker, 0.05)
    assert (consumed['tasks'], consumed['repeated'], consumed['requests']) == (399, 0, {})


def test_threads_send_what_they_say(sqs: SqsServer, tmp_path: Path) -> None:
    with running_proxy(sqs.port, 1.0) as proxy:
        broker, queues = Broker(sqs, proxy), (f'{ENV}-{uuid.uuid4().hex}',)
        site = Site(CONTENDERS['ours'], broker.url, queues, tmp_path)
        sent = publish(site, broker, 'publish-4', 0.1)
    assert sent['tasks'] == sent['requests']['SendMessage'] == sqs.visible(queues[0])
    # Three of each thread, before it is timed.
    assert sent['tasks'] > 4 * 3


def test_the_whole_server_runs_a_task_that_waits(sqs: SqsServer, tmp_path: Path) -> None:
    found = server(tmp_path, sqs.url)
    assert found['start'] > 0
    # More than its five processes have before they import anything.
    assert found['pss'] > 50


def test_a_step_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONTENDERS, 'ours-broken', Contender('ours-broken', 'a broken one', (9, 9)))
    chosen = ['--only', 'batch', '--contenders', 'ours-broken,ours', '--rtt', '1']
    assert main([*chosen, '--rounds', '1', '--part', '0.02', '--out', str(tmp_path)]) == 1

    found = json.loads((tmp_path / 'latest.json').read_text())
    assert ['a broken one, batch' in step for step in found['left_out']] == [True]
    assert 'a broken one, batch failed' in capsys.readouterr().out
    (batched,) = found['samples']
    warm_up = batched['requests']['SendMessage']
    assert batched['requests']['SendMessageBatch'] == (batched['tasks'] - warm_up) / 10
    assert '| publish with send_batch(), tasks/s | ' in (tmp_path / 'latest.md').read_text()
