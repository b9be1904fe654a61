"""Config refuses values that cannot be used, and names the keyword or variable to fix."""

from __future__ import annotations

from typing import Any

import pytest

from be_queue import Config, MappingError, Queue, Queues, SettingError


def mapping() -> Queues:
    return Queues([Queue(queue_name='add', task='tasks.add')]).build_celery('prod')


@pytest.mark.parametrize(
    ('keywords', 'message'),
    [
        *(
            (
                {'RESULT_DB_PORT': port},
                f"RESULT_DB_PORT='{port}': must be a port number, 1 to 65535",
            )
            for port in ('cadasta', 0, '²', 65536)
        ),
        *(
            ({'CHORD_TIMEOUT': time}, f"CHORD_TIMEOUT='{time}': must be a number of seconds above")
            for time in ('soon', '0', 'inf')
        ),
        ({'ALLOW_UNMAPPED_TASKS': 2}, "ALLOW_UNMAPPED_TASKS='2': must be true or false"),
        ({'SQS_ENDPOINT_URL': 'localhost:4566'}, "SQS_ENDPOINT_URL='localhost:4566': must be"),
        ({'SQS_ENDPOINT_URL': 'http://host:port'}, 'for example http://127.0.0.1:4566'),
        ({'SQS_ENDPOINT_URL': 'http://host/path'}, 'without a path'),
        ({'SQS_ENDPOINT_URL': 'http://k:pw@[::1]:4566'}, "='http://k:***@[::1]:4566': must be"),
        ({'SQS_ENDPOINT_URL': 'http://[::1'}, 'for example http://127.0.0.1:4566'),
        ({'SQS_ENDPOINT_URL': 'http://k:pw/x@h'}, "SQS_ENDPOINT_URL='http://k:***@h'"),
        ({'QUEUE_NAME_PREFIX': ''}, "QUEUE_NAME_PREFIX='': must be a text"),
        ({'PLATFORM_QUEUE_NAME': 'celery'}, "PLATFORM_QUEUE_NAME='celery': that queue"),
        ({'task_ack_late': True}, 'did you mean task_acks_late?'),
        ({'Zzz': 1}, 'Zzz is not a Celery setting; name variables of your own in upper case'),
        ({'broker_transport_options': 'region=x'}, "'region=x': must be a dict"),
        ({'broker_transport_options': "{'secret': 'pw'"}, "'***': must be a dict"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(
    keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Config(['foo'], **keywords)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'visibilty_timeout': 60}, "'visibilty_timeout' is no option: did you mean 'visibility_t"),
        ({'wait_time_seconds': 60}, 'wait_time_seconds=60: must be a whole number, 0 to 20'),
        ({'wait_time_seconds': None}, 'wait_time_seconds=None: must be a whole number, 0 to 20'),
        ({'visibility_timeout': 43_201}, 'visibility_timeout=43201: must be a whole number, 1 to '),
        ({'visibility_timeout': True}, 'visibility_timeout=True: must be a whole number'),
        ({'prefetch_seconds': float('nan')}, 'prefetch_seconds=nan: must be a number, 0 or more'),
        ({'create_queues': 'no'}, "create_queues='no': must be True or False"),
        ({'max_receives': {'q': 0}}, "max_receives={'q': 0}: must be a dict of queue names, each "),
        ({'weights': {'q': 0}}, "weights={'q': 0}: must be a dict of queue names, each with a "),
        ({'ratelimits': 'http://k:pw@h'}, "='http://k:***@h': must be a dict of queue names"),
    ],
)
def test_an_option_of_the_transport_that_cannot_be_used_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Config(['foo'], broker_transport_options=options)

    assert str(caught.value).startswith('broker_transport_options: ')
    assert message in str(caught.value)


def test_options_of_other_transports_are_not_ours_to_judge(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {'visibility_timeout': 86_400, 'global_keyprefix': 'a'}
    for url, transport in (('redis://', 'redis'), ('sqs://', 'memory')):
        Config(
            ['foo'],
            broker_url=url,
            broker_transport=transport,
            broker_transport_options=options,
        )
    assert not caplog.messages
    Config(['foo'], broker_transport_options={'of_my_own': 1})
    (line,) = caplog.messages
    assert "'of_my_own' is no option of this transport" in line


@pytest.mark.parametrize('queues', ['foo', None, 3])
def test_queues_that_are_no_list_are_refused(queues: Any) -> None:
    with pytest.raises(SettingError, match='must be a list of names or a Queues mapping'):
        Config(queues)


@pytest.mark.parametrize(
    ('queues', 'keywords', 'message'),
    [
        (['foo', ''], {}, r'queues\[1\]: queue_name must be a non-empty text'),
        (['a b'], {}, r"queues\[0\]: queue_name 'a b' may hold letters"),
        (['a' * 73], {}, r'the queue .*SQS takes 80: shorten queue_name by 1'),
        (['foo'], {'QUEUE_NAME_PREFIX': 'my.team'}, r"'my.team-celery'.* the prefix"),
        (['foo'], {'PLATFORM_QUEUE_NAME': 'a b'}, r"'dev-a b'"),
        (mapping(), {'PLATFORM_QUEUE_NAME': 'a b'}, r"platform_queue_name='a b'"),
        (mapping(), {'PLATFORM_QUEUE_NAME': 'add'}, r"'add' has another use"),
    ],
)
def test_a_name_that_sqs_would_refuse_is_refused(
    queues: Any, keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(MappingError, match=message):
        Config(queues, **keywords)
