"""Messages up to the limit of their queues and over it, on a real SQS server."""

from __future__ import annotations

import uuid

import pytest

from be_queue import MessageTooLargeError
from tests.integration.sending import Site, asked, proxy, server, site
from tests.support.faulty import FaultySqs

__all__ = ['proxy', 'server', 'site']


def test_a_message_over_the_limit_is_refused_before_anything_is_sent(site: Site) -> None:
    url = site.create(site.work, MaximumMessageSize=4096)
    app = site.app()
    longest = 2000
    app.send_task('work', ('a' * longest,))
    (message,) = site.messages(site.work)
    longest += 4096 - len(message['Body'])
    site.messages(site.platform)

    app.send_task('work', ('a' * longest,))
    task_id = str(uuid.uuid4())
    with pytest.raises(MessageTooLargeError) as error:
        app.send_task('work', ('a' * (longest + 1),), task_id=task_id)

    assert len(site.messages(site.work)) == len(site.messages(site.platform)) == 1
    assert (error.value.size, error.value.limit) == (4097, 4096)
    assert (error.value.task, error.value.queue) == ('work', site.work)
    assert f"'work' {task_id}: its message has 4097 bytes" in str(error.value)

    raised = {'MaximumMessageSize': '8192'}
    site.sqs.client().set_queue_attributes(QueueUrl=url, Attributes=raised)
    app.send_task('work', ('a' * (longest + 1),))
    assert len(site.messages(site.work)) == 1


def test_text_is_sent_as_it_is_and_base64_where_asked_for(site: Site) -> None:
    text = 'a' * 10_000
    for asked_for, times in ((False, 1), (True, 0)):
        options = {'sqs_base64_encoding': asked_for}
        site.app(broker_transport_options=options).send_task('work', (text,))
        (message,) = site.messages(site.work)
        assert message['Body'].count(text) == times


def test_message_attributes_count_and_reach_every_queue(site: Site, proxy: FaultySqs) -> None:
    site.create(site.work, MaximumMessageSize=4096)
    sent = asked(proxy)
    attribute = {'tenant': {'DataType': 'String', 'StringValue': 'a'}}
    app = site.app(proxy.url)

    app.send_task('work', message_attributes=attribute)
    for request in (*sent.of(site.work), *sent.of(site.platform)):
        assert request['MessageAttributes'] == attribute
        assert 'message_attributes' not in request['MessageBody']
    attribute['tenant']['StringValue'] = 'a' * 4000
    with pytest.raises(MessageTooLargeError):
        app.send_task('work', message_attributes=attribute)
