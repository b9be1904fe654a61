"""What is sent to a dead-letter queue."""

from __future__ import annotations

from typing import Any

from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE, DeadLetter

URL = 'https://sqs.us-west-2.amazonaws.com/123456789012/prod-add'
TARGET = 'https://sqs.us-west-2.amazonaws.com/123456789012/err-prod-add'


def letter(reason: str = 'why', **message: Any) -> DeadLetter:
    given = {'ReceiptHandle': 'handle', 'MessageId': 'an-id', 'Body': 'body'} | message
    return DeadLetter('prod-add', URL, given, reason, is_disposable=False)


def text(value: str) -> dict[str, str]:
    return {'DataType': 'String', 'StringValue': value}


def test_body_and_attributes_are_kept_and_the_reason_added() -> None:
    binary = {'DataType': 'Binary', 'BinaryValue': 'AAH/'}
    received = binary | {'StringListValues': [], 'BinaryListValues': []}

    params = letter(Body=' \n{', MessageAttributes={'mark': received}).params(TARGET)

    assert params == {
        'QueueUrl': TARGET,
        'MessageBody': ' \n{',
        'MessageAttributes': {
            'mark': binary,
            REASON: text('why'),
            SOURCE: text('prod-add'),
            MESSAGE_ID: text('an-id'),
        },
    }


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
