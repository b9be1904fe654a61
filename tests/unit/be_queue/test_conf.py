"""Config: the defaults, and who wins over them."""

from __future__ import annotations

from typing import Any

import kombu
import pytest
from celery import Celery

from be_queue import Config, Queue, Queues, SettingError, UnmappedTaskError

EXCHANGE = kombu.Exchange('task_exchange', 'topic')


def mapping(env: str = 'prod', **options: Any) -> Queues:
    queues = [
        Queue(queue_name='add', task='tasks.add'),
        Queue(queue_name='other', task='other', consume=False),
    ]
    return Queues(queues).build_celery(env, **options)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('QUEUES', ('foo', 'bar')),
        ('PLATFORM_QUEUE_NAME', 'platform.fifo'),
        ('QUEUE_NAME_PREFIX', 'dev'),
        ('RESULT_DB_USER', 'cadasta'),
        ('RESULT_DB_PASS', 'cadasta'),
        ('RESULT_DB_HOST', 'localhost'),
        ('RESULT_DB_PORT', '5432'),
        ('RESULT_DB_NAME', 'cadasta'),
        ('AWS_REGION', 'us-west-2'),
        ('SQS_ENDPOINT_URL', ''),
        ('result_backend', 'db+postgresql+psycopg://cadasta:cadasta@localhost:5432/cadasta'),
        ('broker_url', 'sqs://'),
        ('broker_transport', 'be_queue.transport:Transport'),
        (
            'broker_transport_options',
            {
                'region': 'us-west-2',
                'queue_name_prefix': 'dev-',
                'copies_to': ['platform.fifo'],
            },
        ),
        (
            'task_queues',
            {
                kombu.Queue('celery', EXCHANGE, routing_key='celery'),
                kombu.Queue('platform.fifo', EXCHANGE, routing_key='#'),
                kombu.Queue('foo', EXCHANGE, routing_key='foo'),
                kombu.Queue('bar', EXCHANGE, routing_key='bar'),
            },
        ),
        ('task_default_exchange', 'task_exchange'),
        ('task_default_exchange_type', 'topic'),
        ('task_track_started', True),
        ('task_acks_late', True),
        ('task_reject_on_worker_lost', True),
        ('task_create_missing_queues', False),
    ],
)
def test_the_default_is_as_documented(name: str, value: Any) -> None:
    assert getattr(Config(['foo', 'bar']), name) == value


def test_the_default_routes_send_each_pattern_to_its_queue() -> None:
    routes, _ = Config(['foo', 'bar']).task_routes

    assert routes.keys() == {'celery.*', 'foo.*', 'bar.*'}
    for pattern, route in routes.items():
        assert route['exchange'] == EXCHANGE
        assert route['routing_key'] == pattern.removesuffix('.*')


def test_a_mapping_brings_its_names_and_routes() -> None:
    config = Config(mapping())

    assert config.QUEUE_NAME_PREFIX == 'prod'
    assert config.broker_transport_options['queue_name_prefix'] == ''
    assert {queue.name for queue in config.task_queues} == {
        'prod-celery',
        'prod-platform.fifo',
        'prod-add',
        'prod-other',
    }
    assert config.task_routes[0] == {
        'celery.*': {'queue': 'prod-celery'},
        'tasks.add': {'queue': 'prod-add'},
        'other': {'queue': 'prod-other'},
    }


@pytest.mark.parametrize(
    ('queues', 'name', 'message'),
    [
        (
            mapping(),
            'tasks.ad',
            "task 'tasks.ad' has no queue in the mapping: did you mean 'tasks.add'",
        ),
        (
            mapping(),
            'zzz',
            "task 'zzz' has no queue in the mapping: map it, name a queue in the call",
        ),
        (['foo', 'bar'], 'food.add', "did you mean 'foo.*'"),
    ],
)
def test_a_task_without_a_queue_is_refused_where_it_is_sent(
    queues: Any, name: str, message: str
) -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues))

    for send in (app.send_task, lambda name: app.signature(name).apply_async()):
        with pytest.raises(UnmappedTaskError) as caught:
            send(name)
        assert message in str(caught.value)
        assert 'ALLOW_UNMAPPED_TASKS=true' in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'options', 'settings'),
    [
        ('tasks.ad', {'queue': 'prod-other'}, {}),
        ('tasks.ad', {'exchange': 'another', 'routing_key': 'key'}, {}),
        ('tasks.ad', {'routing_key': 'prod-other'}, {}),
        ('celery.backend_cleanup', {}, {}),
        ('tasks.add', {}, {}),
        ('tasks.ad', {}, {'ALLOW_UNMAPPED_TASKS': True}),
        ('tasks.ad', {}, {'task_routes': {}}),
    ],
)
def test_a_task_with_a_place_to_go_is_sent(
    name: str, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(
            mapping(),
            broker_url='memory://',
            broker_transport='memory',
            broker_transport_options={},
            result_backend='cache+memory://',
            **settings,
        )
    )
    assert app.send_task(name, **options).id


def test_the_queues_that_are_added_by_themselves_may_be_listed() -> None:
    config = Config(['celery', 'foo', 'platform.fifo', 'audit'], PLATFORM_QUEUE_NAME='audit')

    assert config.QUEUES == ('foo',)
    assert {(queue.name, queue.routing_key) for queue in config.task_queues} == {
        ('celery', 'celery'),
        ('audit', '#'),
        ('foo', 'foo'),
    }


INTERNALS = [
    ('PLATFORM_QUEUE_NAME', 'PLATFORM_QUEUE_NAME'),
    ('QUEUE_NAME_PREFIX', 'QUEUE_PREFIX'),
    ('RESULT_DB_USER', 'RESULT_DB_USER'),
    ('RESULT_DB_PASS', 'RESULT_DB_PASS'),
    ('RESULT_DB_HOST', 'RESULT_DB_HOST'),
    ('RESULT_DB_NAME', 'RESULT_DB_NAME'),
    ('AWS_REGION', 'AWS_REGION'),
    ('AWS_REGION', 'AWS_DEFAULT_REGION'),
]


@pytest.mark.parametrize(('name', 'variable'), INTERNALS)
def test_the_keyword_of_an_internal_beats_its_variable_beats_its_default(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    default = getattr(Config(['foo']), name)

    monkeypatch.setenv(variable, 'from-variable')
    assert getattr(Config(['foo']), name) == 'from-variable' != default
    assert getattr(Config(['foo'], **{name: 'from-keyword'}), name) == 'from-keyword'


@pytest.mark.parametrize(
    ('setting', 'text', 'value', 'keyword', 'default'),
    [
        ('task_track_started', 'no', False, None, True),
        ('task_default_exchange', 'mine', 'mine', 'yours', 'task_exchange'),
        ('broker_transport', 'memory', 'memory', 'filesystem', 'be_queue.transport:Transport'),
        ('broker_url', 'memory://a', 'memory://a', 'memory://b', 'sqs://'),
        ('result_extended', 'False', False, None, True),
        ('task_routes', "{'a': {'queue': 'foo'}}", {'a': {'queue': 'foo'}}, {}, None),
        ('worker_prefetch_multiplier', '7', 7, 8, None),
    ],
)
def test_the_keyword_of_a_setting_beats_its_variable_beats_its_default(
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    text: str,
    value: Any,
    keyword: Any,
    default: Any,
) -> None:
    if default is not None:
        assert getattr(Config(['foo']), setting) == default

    monkeypatch.setenv(f'CELERY_{setting.upper()}', text)
    assert getattr(Config(['foo']), setting) == value
    assert getattr(Config(['foo'], **{setting: keyword}), setting) == keyword


def test_an_empty_variable_is_unset_but_for_the_platform_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ('QUEUE_PREFIX', 'RESULT_DB_PORT', 'AWS_REGION', 'PLATFORM_QUEUE_NAME'):
        monkeypatch.setenv(variable, '')
    config = Config(['foo'])

    assert (config.QUEUE_NAME_PREFIX, config.RESULT_DB_PORT) == ('dev', '5432')
    assert config.AWS_REGION == 'us-west-2'
    assert {queue.name for queue in config.task_queues} == {'celery', 'foo'}


@pytest.mark.parametrize('queues', [['foo'], mapping()])
def test_the_platform_queue_can_be_switched_off_by_keyword(queues: Any) -> None:
    config = Config(queues, PLATFORM_QUEUE_NAME='')

    assert '#' not in {queue.routing_key for queue in config.task_queues}
    assert 'platform.fifo' not in str(config.not_consumed())
    assert 'copies_to' not in config.broker_transport_options


def test_the_result_backend_is_made_of_the_database_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for part in ('USER', 'PASS', 'HOST', 'NAME'):
        monkeypatch.setenv(f'RESULT_DB_{part}', part.lower())

    config = Config(['foo'], RESULT_DB_PORT=5433)

    assert config.result_backend == 'db+postgresql+psycopg://user:pass@host:5433/name'


def test_transport_options_are_merged_into_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('CELERY_BROKER_TRANSPORT_OPTIONS', "{'region': 'eu-west-1'}")
    assert Config(['foo']).broker_transport_options == {
        'region': 'eu-west-1',
        'queue_name_prefix': 'dev-',
        'copies_to': ['platform.fifo'],
    }

    config = Config(['foo'], broker_transport_options={'polling_interval': 0.1})
    assert config.broker_transport_options == {
        'region': 'us-west-2',
        'queue_name_prefix': 'dev-',
        'copies_to': ['platform.fifo'],
        'polling_interval': 0.1,
    }


def test_the_exchange_setting_reaches_queues_and_routes() -> None:
    config = Config(['foo'], task_default_exchange='mine', PLATFORM_QUEUE_NAME='')

    assert {queue.exchange.name for queue in config.task_queues} == {'mine'}
    assert {route['exchange'].name for route in config.task_routes[0].values()} == {'mine'}


def test_a_subclass_has_defaults_of_its_own_which_keywords_still_beat() -> None:
    class Mine(Config):
        def default_settings(self) -> dict[str, Any]:
            return super().default_settings() | {'worker_concurrency': 2, 'task_time_limit': 9}

    config = Mine(['foo'], task_time_limit=5)

    assert (config.worker_concurrency, config.task_time_limit) == (2, 5)  # type: ignore[attr-defined]
    assert config.given('task_time_limit') == 5
    assert config.given('worker_concurrency', 'default') == 'default'


def test_a_worker_leaves_the_platform_queue_and_other_workers_queues_alone() -> None:
    assert Config(mapping()).not_consumed() == ['prod-other', 'prod-platform.fifo']
    assert Config(['foo']).not_consumed() == ['platform.fifo']
    assert Config(['foo'], PLATFORM_QUEUE_NAME='').not_consumed() == []


@pytest.mark.parametrize('queues', [['foo'], mapping()], ids=['names', 'mapping'])
@pytest.mark.parametrize('asks', [False, True], ids=['plain', '-Q'])
def test_it_consumes_them_only_when_it_asks_for_them(queues: Any, asks: bool) -> None:
    config = Config(queues)
    app = Celery(set_as_current=False)
    app.config_from_object(config)
    app.loader.init_worker()
    app.amqp.queues.select(config.not_consumed() if asks else None)
    consumed = set(app.amqp.queues.consume_from)
    assert consumed == (
        set(config.not_consumed())
        if asks
        else set(app.amqp.queues).difference(config.not_consumed())
    )


@pytest.mark.parametrize(
    ('url', 'broker_url', 'endpoint', 'login'),
    [
        ('http://127.0.0.1:4566', 'sqs://127.0.0.1:4566', 'http://127.0.0.1:4566', (None, None)),
        ('https://sqs.corp/', 'sqs://sqs.corp', 'https://sqs.corp', (None, None)),
        ('http://k:s@h:1', 'sqs://k:s@h:1', 'http://h:1', ('k', 's')),
        ('http://k:a%2Fb%25@h:1', 'sqs://k:a%2Fb%25@h:1', 'http://h:1', ('k', 'a/b%')),
    ],
)
def test_another_sqs_server_is_reached_by_its_url(
    url: str, broker_url: str, endpoint: str, login: tuple[str | None, str | None]
) -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(Config(['foo'], SQS_ENDPOINT_URL=url))
    connection = app.connection_for_write()

    assert app.conf.broker_url == broker_url
    scheme = 'https' if connection.transport_options['is_secure'] else 'http'
    port = f':{connection.port}' if connection.port else ''
    assert f'{scheme}://{connection.hostname}{port}' == endpoint
    assert (connection.userid, connection.password) == login


@pytest.mark.parametrize('name', ['broker_url', 'result_backend'])
def test_a_keyword_that_celery_will_not_heed_is_warned_of(name, monkeypatch, caplog):
    monkeypatch.setenv(f'CELERY_{name.upper()}', 'cache+memory://')
    Config(['a'], **{name: 'cache+memory://'})
    assert not caplog.messages
    Config(['a'], **{name: 'redis://'})
    assert f'CELERY_{name.upper()}' in caplog.text


def test_a_chord_s_header_is_polled_until_its_timeout():
    config = Config(
        ['foo'],
        CHORD_TIMEOUT=60,
        result_chord_retry_interval=2.0,
        task_annotations={'foo': {'max_retries': 1}},
    )
    app = Celery(set_as_current=False)
    app.config_from_object(config)
    assert app.tasks['celery.chord_unlock'].max_retries == 30
    assert app.conf.task_annotations['foo'] == {'max_retries': 1}


@pytest.mark.parametrize('timeout', ['soon', '0', 'inf'])
def test_a_chord_timeout_that_cannot_be_used_is_refused(timeout):
    with pytest.raises(
        SettingError, match=f"CHORD_TIMEOUT='{timeout}': must be a number of seconds above"
    ):
        Config(['foo'], CHORD_TIMEOUT=timeout)


@pytest.mark.parametrize('limit', [0, None])
def test_a_producer_without_a_pool_of_connections_is_warned_of(
    limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    Config(['a'], broker_pool_limit=1)
    assert not caplog.messages
    Config(['a'], broker_pool_limit=limit)
    assert f'broker_pool_limit={limit}: ' in caplog.text
