"""Which messages call a task, and what is said of those that do not."""

from __future__ import annotations

import base64
import json
import math
import pickle
from typing import Any

import pytest
from celery import Celery
from kombu.transport import virtual

from be_queue.transport import message_check

EMBED = {'callbacks': None, 'errbacks': None, 'chain': None, 'chord': None}
CALL = [[1, 2], {'z': 3}, EMBED]
PROTOCOL_1 = {'task': 'add', 'id': 'x', 'args': [1], 'kwargs': {}}
PICKLE = 'application/x-python-serialize'


class Codecs:
    """The part of a channel that a message needs."""

    codecs = virtual.Channel.codecs
    decode_body = virtual.Channel.decode_body


def message(body: Any = CALL, *, accept: Any = ('application/json',), **changes: Any) -> Any:
    payload = {
        'body': body if isinstance(body, (str, bytes)) else json.dumps(body),
        'headers': {'task': 'add', 'id': 'x'},
        'content-type': 'application/json',
        'content-encoding': 'utf-8',
        'properties': {'delivery_tag': 'tag', 'delivery_info': {}},
    } | {name.replace('_', '-'): value for name, value in changes.items()}
    built = virtual.Message(payload, channel=Codecs())
    built.accept = accept
    return built


def called(**headers: Any) -> virtual.Message:
    return message(headers={'task': 'add', 'id': 'x'} | headers)


def encoded(body: str, **changes: Any) -> virtual.Message:
    properties = {'delivery_tag': 'tag', 'delivery_info': {}, 'body_encoding': 'base64'}
    return message(body, properties=properties, **changes)


@pytest.mark.parametrize(
    'sound',
    [
        message(),
        called(id='x' * 155, retries=3, timelimit=[None, 1.5]),
        # Wrapped lines, as the standard library of Ruby writes them: kombu takes them.
        encoded(base64.encodebytes(json.dumps([['x' * 100], {}, EMBED]).encode()).decode()),
        message(content_encoding=None),
        message(PROTOCOL_1, headers={}),
        message({'task': 'add', 'id': 'x'}, headers=None),
        message(PROTOCOL_1),  # protocol 1 and 2 together
        encoded(
            base64.b64encode(pickle.dumps(((1,), {}, {}))).decode(),
            content_type=PICKLE,
            content_encoding='binary',
            accept={PICKLE},
        ),
    ],
)
def test_a_message_that_calls_a_task_passes(sound: virtual.Message) -> None:
    assert message_check.fault_of(sound) is None


@pytest.mark.parametrize(
    ('faulty', 'fault'),
    [
        (message('[' * 100_000), 'the body cannot be decoded: DecodeError: maximum recursion dept'),
        (message(b'\xff\xfe'), 'the body cannot be decoded: DecodeError'),
        (message([[], {}]), 'the body is not [args, kwargs, embed]'),
        (message([[], {}, []]), 'embed is not an object'),
        (message({'args': 5}), 'args is not a list, or kwargs is not an object'),
        (message(headers={'task': ['add'], 'id': 'x'}), "header task is not a text: ['add']"),
        (called(id='x' * 156), 'header id is not a text of at most 155 characters'),
        (called(id='x\0'), 'header id is not a text of at most 155 characters'),
        (called(retries=2**31), 'header retries is not a number of retries'),
        (called(timelimit=5), 'header timelimit is not two numbers: 5'),
        (called(timelimit=[math.nan, 1]), 'header timelimit is not two numbers: [nan, 1]'),
        (called(stamped_headers=5), 'header stamped_headers is not a list of texts: 5'),
        (called(stamps=[1]), 'header stamps is not an object: [1]'),
        (message(PROTOCOL_1 | {'timelimit': 5}, headers={}), 'field timelimit is not two numbers'),
        (message(headers={'id': 'x'}), 'neither its headers nor its body name a task'),
        (message({'task': 'add'}, headers={}), 'field id is not a text: None'),
        (message(content_type=PICKLE, accept=None), 'disabled content'),
        (message(content_type=['a']), 'the body cannot be decoded'),
        (message(content_encoding=['utf-8']), 'the body cannot be decoded: AttributeError'),
        (
            encoded('bm90IHppcHBlZA==', headers={'task': 'add', 'id': 'x', 'compression': 'gzip'}),
            'cannot be unpacked: error: Error -3 while decompressing',
        ),
        (message('{"a": 1}', headers=None, content_type=None), 'not a Celery message'),
    ],
)
def test_a_message_that_calls_none_is_refused_with_the_fault(
    faulty: virtual.Message, fault: str
) -> None:
    assert fault in (message_check.fault_of(faulty) or '')


def test_a_body_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = message()
    assert message_check.fault_of(checked) is None
    monkeypatch.setattr(virtual.Message, '_decode', None)
    assert checked.payload == CALL


def test_the_check_says_which_message_celery_is_looking_at() -> None:
    app = Celery(broker='memory://', set_as_current=False)
    seen: list[Any] = []
    with app.connection_for_read() as connection:
        check = message_check.MessageCheck(
            app.amqp.TaskConsumer(connection),
            lambda message: seen.append(check.current),
            lambda *moved: seen.append(moved),
        )
        check(message(accept=None))
        check(message(content_type='text/xml', accept=None))
    current, (moved, reason) = seen
    assert (current, moved) == ('tag', 'tag')
    assert 'ContentDisallowed' in reason
    assert check.current is None
