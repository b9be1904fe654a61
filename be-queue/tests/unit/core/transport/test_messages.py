"""Copies of messages, and what a dead letter has besides."""

from __future__ import annotations

from typing import Any

from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE, DeadLetter
from be_queue.transport.messages import copy_of

URL = 'https://sqs.us-west-2.amazonaws.com/123456789012/prod-add'
TARGET = 'https://sqs.us-west-2.amazonaws.com/123456789012/err-prod-add'


def dead(fifo: str = '', **message: Any) -> dict[str, Any]:
    given = {'ReceiptHandle': 'handle', 'MessageId': 'an-id', 'Body': 'body'} | message
    letter = DeadLetter('prod-add', URL, given, 'why', is_disposable=False)
    return letter.params(TARGET + fifo)


def text(value: str) -> dict[str, str]:
    return {'DataType': 'String', 'StringValue': value}


def test_on_a_fifo_queue_the_group_is_kept_and_a_second_copy_is_dropped() -> None:
    params = dead('.fifo', Attributes={'MessageGroupId': 'g'})
    assert (params['MessageGroupId'], params['MessageDeduplicationId']) == ('g', 'an-id')
    assert 'DelaySeconds' not in params
    assert dead('.fifo')['MessageGroupId'] == 'default'


def test_ten_attributes_are_not_exceeded_and_those_of_an_earlier_death_are_replaced() -> None:
    for given, added in ((7, {REASON, SOURCE, MESSAGE_ID}), (9, {REASON}), (10, set())):
        attributes = {f'a{n}': text('x') for n in range(given)}
        sent = dead(MessageAttributes=attributes)['MessageAttributes']
        assert sent.keys() == attributes.keys() | added
    old = {name: text('old') for name in (REASON, SOURCE, MESSAGE_ID)}
    sent = dead(MessageAttributes=old)['MessageAttributes']
    assert sent == {REASON: text('why'), SOURCE: text('prod-add'), MESSAGE_ID: text('an-id')}


def test_a_copy_has_all_that_the_message_had() -> None:
    number = {'DataType': 'Number', 'StringValue': '7'}
    blob = {'DataType': 'Binary.zip', 'BinaryValue': 'AP8='}
    received = {
        'Body': 'a\U0001f40d\\"',
        'ReceiptHandle': 'r',
        'Attributes': {'MessageGroupId': 'g', 'AWSTraceHeader': 'Root=1'},
        'MessageAttributes': {
            'n': number | {'StringListValues': []},
            'b': blob | {'BinaryListValues': []},
        },
    }
    assert copy_of(received, 5) == {
        'MessageBody': 'a\U0001f40d\\"',
        'DelaySeconds': 5,
        'MessageGroupId': 'g',
        'MessageAttributes': {'n': number, 'b': blob},
        'MessageSystemAttributes': {'AWSTraceHeader': text('Root=1')},
    }
