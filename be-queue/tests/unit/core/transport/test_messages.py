"""Copies of messages, and what a dead letter has besides."""

from __future__ import annotations

from typing import Any

from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE, DeadLetter
from be_queue.transport.messages import copy_of

URL = 'https://sqs.us-west-2.amazonaws.com/123456789012/prod-add'
TARGET = 'https://sqs.us-west-2.amazonaws.com/123456789012/err-prod-add'


def letter(reason: str = 'why', **message: Any) -> DeadLetter:
    given = {'ReceiptHandle': 'handle', 'MessageId': 'an-id', 'Body': 'body'} | message
    return DeadLetter('prod-add', URL, given, reason, is_disposable=False)


def text(value: str) -> dict[str, str]:
    return {'DataType': 'String', 'StringValue': value}


def test_on_a_fifo_queue_the_group_is_kept_and_a_second_copy_is_dropped() -> None:
    params = letter(Attributes={'MessageGroupId': 'g'}).params(f'{TARGET}.fifo')
    assert (params['MessageGroupId'], params['MessageDeduplicationId']) == ('g', 'an-id')
    assert 'DelaySeconds' not in params
    assert letter().params(f'{TARGET}.fifo')['MessageGroupId'] == 'default'


def test_ten_attributes_are_not_exceeded_and_the_senders_come_first() -> None:
    for given, added in ((7, {REASON, SOURCE, MESSAGE_ID}), (9, {REASON}), (10, set())):
        attributes = {f'a{n}': text('x') for n in range(given)}
        sent = letter(MessageAttributes=attributes).params(TARGET)['MessageAttributes']
        assert sent.keys() == attributes.keys() | added


def test_a_message_that_was_a_dead_letter_before_gets_the_new_reason() -> None:
    old = {name: text('old') for name in (REASON, SOURCE, MESSAGE_ID)}
    sent = letter('new', MessageAttributes=old).params(TARGET)['MessageAttributes']
    assert sent[REASON] == text('new')
    assert sent[SOURCE] == text('prod-add')


def test_a_copy_has_all_that_the_message_had() -> None:
    number = {'DataType': 'Number', 'StringValue': '7', 'StringListValues': []}
    blob = {'DataType': 'Binary.zip', 'BinaryValue': 'AP8=', 'BinaryListValues': []}
    attributes = {'ApproximateReceiveCount': '3', 'MessageGroupId': 'g', 'AWSTraceHeader': 'Root=1'}
    received = {
        'Body': 'a\U0001f40d\\"',
        'ReceiptHandle': 'r',
        'MessageId': 'm',
        'Attributes': attributes,
        'MessageAttributes': {'n': number, 'b': blob},
    }
    assert copy_of(received, 5) == {
        'MessageBody': 'a\U0001f40d\\"',
        'DelaySeconds': 5,
        'MessageGroupId': 'g',
        'MessageAttributes': {
            'n': {'DataType': 'Number', 'StringValue': '7'},
            'b': {'DataType': 'Binary.zip', 'BinaryValue': 'AP8='},
        },
        'MessageSystemAttributes': {
            'AWSTraceHeader': {'DataType': 'String', 'StringValue': 'Root=1'}
        },
    }
