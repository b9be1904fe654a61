"""Starts where queues are there already: mended, or verified and left as they are."""

from __future__ import annotations

from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.sqs import SqsServer
from tests.support.worker import Server, Site

DENIED = faulty.status(403, 'AccessDeniedException')
VARIABLES = {
    'SQS_CREATE_QUEUES': 'false',
    'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1},
}


def make_queues(site: Site) -> None:
    app = site.producer()
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()


def faults(server: Server) -> list[str]:
    assert server.wait_ended() == 1
    lines = server.log.splitlines()
    assert 'Traceback' not in server.log
    return [line for line in lines if line.startswith('cannot start: ')]


def policy_of(sqs: SqsServer, name: str) -> str | None:
    client = sqs.client()
    url = client.get_queue_url(QueueName=name)['QueueUrl']
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=['RedrivePolicy'])
    found: str | None = answer.get('Attributes', {}).get('RedrivePolicy')
    return found


def test_queues_of_older_tools_get_their_policy_at_the_start(site: Site, sqs: SqsServer) -> None:
    work, platform = site.queue('add'), f'{site.username}-local-platform.fifo'
    sqs.client().create_queue(QueueName=work)
    sqs.client().create_queue(QueueName=platform, Attributes={'FifoQueue': 'true'})
    with site.server() as server:
        for name in (work, platform):
            assert f':err-{name}"' in (policy_of(sqs, name) or '')
            assert server.log.count(f'redrive policy set: queue={name} ') == 1


def test_missing_queues_stop_the_start_with_a_line_each(site: Site, sqs: SqsServer) -> None:
    with site.server(wait=False, **VARIABLES) as server:
        *lines, last = faults(server)
    for name in ('add', 'retry-demo', 'slow'):
        fault = f"cannot start: queue '{site.queue(name)}' does not exist on SQS"
        assert sum(line.startswith(fault) for line in lines) == 1
    assert len(lines) == 5  # and Celery's own and the platform's
    assert 'SQS_CREATE_QUEUES=true' in last
    assert not any(site.username in name for name in sqs.queue_names())


def test_no_permission_to_list_create_or_describe_queues_is_needed(
    site: Site, proxy: FaultySqs
) -> None:
    make_queues(site)
    for operation in ('ListQueues', 'CreateQueue', 'SetQueueAttributes', 'GetQueueAttributes'):
        proxy.fail(operation, DENIED)
    with site.server(SQS_ENDPOINT_URL=proxy.url, **VARIABLES) as server:
        assert site.producer().send_task('add', (1, 2)).get(timeout=30) == 3
        assert proxy.requests['ListQueues'] == proxy.requests['CreateQueue'] == 0
        assert proxy.requests['SetQueueAttributes'] == 0
        assert 'SQS denies GetQueueAttributes' in server.log
