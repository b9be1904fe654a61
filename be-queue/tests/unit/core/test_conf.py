"""Config: the defaults, what wins over them, and what its repr shows."""

from __future__ import annotations

from typing import Any

import kombu
import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from be_queue import Config, Queue, Queues, UnmappedTaskError
from tests.unit.core.passwords import PASSWORDS, assert_hidden

EXCHANGE = kombu.Exchange('task_exchange', 'topic')
QUEUES = Queues(
    [
        Queue(queue_name='add', task='tasks.add'),
        Queue(queue_name='other', task='other', consume=False),
    ]
).build_celery('prod')


def celery_app(config: Config) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(config)
    return app


def test_the_defaults_are_as_documented() -> None:
    config = Config(['foo', 'bar'])

    assert config.broker_url == 'sqs://'
    assert config.broker_transport == 'be_queue.transport:Transport'
    assert config.broker_transport_options == {
        'region': 'us-west-2',
        'queue_name_prefix': 'dev-',
        'copies_to': ['platform.fifo'],
    }
    assert config.result_backend == (
        'db+postgresql+psycopg://cadasta:cadasta@localhost:5432/cadasta'
    )
    assert {(q.name, q.exchange, q.routing_key) for q in config.task_queues} == {
        ('celery', EXCHANGE, 'celery'),
        ('platform.fifo', EXCHANGE, '#'),
        ('foo', EXCHANGE, 'foo'),
        ('bar', EXCHANGE, 'bar'),
    }
    assert config.task_routes[0] == {f'{n}.*': {'queue': n} for n in ('celery', 'foo', 'bar')}


def test_a_mapping_brings_its_names_and_routes() -> None:
    config = Config(QUEUES)

    assert config.QUEUE_NAME_PREFIX == 'prod'
    assert config.broker_transport_options['queue_name_prefix'] == ''
    assert {queue.name for queue in config.task_queues} == {
        *('prod-celery', 'prod-platform.fifo', 'prod-add', 'prod-other')
    }
    assert config.task_routes[0] == {
        'celery.*': {'queue': 'prod-celery'},
        'tasks.add': {'queue': 'prod-add'},
        'other': {'queue': 'prod-other'},
    }


@pytest.mark.parametrize(
    ('queues', 'name', 'message'),
    [
        (QUEUES, 'tasks.ad', "no queue in the mapping: did you mean 'tasks.add'"),
        (QUEUES, 'zzz', "task 'zzz' has no queue in the mapping: map it, name a queue"),
        (['foo', 'bar'], 'food.add', "did you mean 'foo.*'"),
    ],
)
def test_a_task_without_a_queue_is_refused_where_it_is_sent(
    queues: Any, name: str, message: str
) -> None:
    app = celery_app(Config(queues))

    for send in (app.send_task, lambda name: app.signature(name).apply_async()):
        with pytest.raises(UnmappedTaskError) as caught:
            send(name)
        assert message in str(caught.value)
        assert 'ALLOW_UNMAPPED_TASKS=true' in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'options', 'settings'),
    [
        ('tasks.add', {}, {}),
        ('tasks.ad', {'queue': 'prod-other'}, {}),
        ('tasks.ad', {'routing_key': 'prod-other'}, {}),
        ('celery.backend_cleanup', {}, {}),
        ('tasks.ad', {}, {'ALLOW_UNMAPPED_TASKS': True}),
    ],
)
def test_a_task_with_a_destination_is_sent(
    name: str, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    memory = {'broker_url': 'memory://', 'broker_transport': 'memory'}
    app = celery_app(Config(QUEUES, result_backend='cache+memory://', **memory, **settings))

    assert app.send_task(name, **options).id


def test_the_queues_that_are_added_by_themselves_may_be_listed() -> None:
    config = Config(['celery', 'foo', 'platform.fifo', 'foo'], PLATFORM_QUEUE_NAME='audit')

    assert config.QUEUES == ('foo',)
    assert {(queue.name, queue.routing_key) for queue in config.task_queues} == {
        *(('celery', 'celery'), ('audit', '#'), ('foo', 'foo'))
    }


@pytest.mark.parametrize(
    ('name', 'variable', 'text', 'value', 'keyword'),
    [
        ('PLATFORM_QUEUE_NAME', 'PLATFORM_QUEUE_NAME', 'a', 'a', 'b'),
        ('QUEUE_NAME_PREFIX', 'QUEUE_PREFIX', 'a', 'a', 'b'),
        ('RESULT_DB_PORT', 'RESULT_DB_PORT', '1', 1, '2'),
        ('RESULT_BACKEND_TIMEOUT', 'RESULT_BACKEND_TIMEOUT', '3', 3.0, 4.0),
        ('ALLOW_UNMAPPED_TASKS', 'ALLOW_UNMAPPED_TASKS', 'YES', True, False),
        ('AWS_REGION', 'AWS_DEFAULT_REGION', 'a', 'a', 'b'),
        ('task_track_started', 'CELERY_TASK_TRACK_STARTED', 'no', False, None),
        ('broker_transport', 'CELERY_BROKER_TRANSPORT', 'memory', 'memory', 'filesystem'),
    ],
)
def test_a_keyword_beats_a_variable_beats_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str, text: str, value: Any, keyword: Any
) -> None:
    assert getattr(Config(['foo']), name) != value
    monkeypatch.setenv(variable, text)
    assert getattr(Config(['foo']), name) == value
    assert str(getattr(Config(['foo'], **{name: keyword}), name)) == str(keyword)


def test_an_empty_variable_is_unset_but_for_the_platform_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ('QUEUE_PREFIX', 'RESULT_DB_PORT', 'PLATFORM_QUEUE_NAME'):
        monkeypatch.setenv(variable, '')
    config = Config(['foo'])

    assert (config.QUEUE_NAME_PREFIX, config.RESULT_DB_PORT) == ('dev', 5432)
    monkeypatch.delenv('PLATFORM_QUEUE_NAME')
    for off in (config, *(Config(queues, PLATFORM_QUEUE_NAME='') for queues in (QUEUES, ['foo']))):
        assert '#' not in {queue.routing_key for queue in off.task_queues}
        assert 'copies_to' not in off.broker_transport_options


def test_transport_options_are_merged_into_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Config(['foo']).broker_transport_options
    config = Config(['foo'], broker_transport_options={'polling_interval': 0.1})
    assert config.broker_transport_options == defaults | {'polling_interval': 0.1}

    monkeypatch.setenv('CELERY_BROKER_TRANSPORT_OPTIONS', "{'region': 'eu-west-1'}")
    assert Config(['foo']).broker_transport_options == defaults | {'region': 'eu-west-1'}


def test_the_exchange_setting_reaches_the_queues() -> None:
    config = Config(['foo'], task_default_exchange='mine', PLATFORM_QUEUE_NAME='')

    assert {queue.exchange.name for queue in config.task_queues} == {'mine'}


def test_a_subclass_has_defaults_of_its_own_which_keywords_still_beat() -> None:
    class Mine(Config):
        def default_settings(self) -> dict[str, Any]:
            return super().default_settings() | {'worker_concurrency': 2, 'task_time_limit': 9}

    config = Mine(['foo'], task_time_limit=5)

    assert (config.worker_concurrency, config.task_time_limit) == (2, 5)  # type: ignore[attr-defined]
    assert config.given('task_time_limit') == 5
    assert config.given('worker_concurrency', 'default') == 'default'


@pytest.mark.parametrize(
    ('queues', 'left'),
    [(['foo'], ['platform.fifo']), (QUEUES, ['prod-other', 'prod-platform.fifo'])],
)
@pytest.mark.parametrize('asks', [False, True], ids=['plain', '-Q'])
def test_a_worker_consumes_queues_of_others_only_when_it_asks_for_them(
    queues: Any, left: list[str], asks: bool
) -> None:
    config = Config(queues)
    app = celery_app(config)
    app.loader.init_worker()
    app.amqp.queues.select(left if asks else None)

    assert config.not_consumed() == left
    consumed = set(left) if asks else set(app.amqp.queues).difference(left)
    assert set(app.amqp.queues.consume_from) == consumed


@pytest.mark.parametrize(
    ('url', 'broker_url', 'endpoint', 'login'),
    [
        ('http://127.0.0.1:4566', 'sqs://127.0.0.1:4566', 'http://127.0.0.1:4566', (None, None)),
        ('https://sqs.corp/', 'sqs://sqs.corp', 'https://sqs.corp', (None, None)),
        ('http://k:a%2Fb%25@h:1', 'sqs://k:a%2Fb%25@h:1', 'http://h:1', ('k', 'a/b%')),
    ],
)
def test_another_sqs_server_is_reached_by_its_url(
    url: str, broker_url: str, endpoint: str, login: tuple[str | None, str | None]
) -> None:
    app = celery_app(Config(['foo'], SQS_ENDPOINT_URL=url))
    connection = app.connection_for_write()

    assert app.conf.broker_url == broker_url
    scheme = 'https' if connection.transport_options['is_secure'] else 'http'
    port = f':{connection.port}' if connection.port else ''
    assert f'{scheme}://{connection.hostname}{port}' == endpoint
    assert (connection.userid, connection.password) == login


def test_a_chord_s_header_is_polled_until_its_timeout() -> None:
    config = Config(
        ['foo'],
        CHORD_TIMEOUT=60,
        result_chord_retry_interval=2.0,
        task_annotations={'foo': {'max_retries': 1}},
    )
    app = celery_app(config)
    assert app.tasks['celery.chord_unlock'].max_retries == 30
    assert app.conf.task_annotations['foo'] == {'max_retries': 1}


def test_repr_shows_the_settings_and_none_of_the_internals() -> None:
    config = Config(['foo'], MY_OWN='mine', worker_concurrency=4)

    assert "'worker_concurrency': 4" in repr(config)
    assert 'mine' not in repr(config)


HIDDEN: list[Any] = [
    lambda password: {'RESULT_DB_PASS': password},
    *(
        lambda password, name=name: {name: f'scheme://user:{password}@host:1/path'}
        for name in ('broker_url', 'broker_read_url', 'result_backend')
    ),
    *(
        lambda password, option=option: {'broker_transport_options': option(password)}
        for option in (
            lambda password: {'password': password},
            lambda password: {'client-config': {'proxies': {'https': f'http://u:{password}@p'}}},
            lambda password: {'predefined_queues': {'foo': {'secret_access_key': password}}},
            lambda password: {'sentinels': [('host', 1, {'sasl': [{'session_token': password}]})]},
        )
    ),
]


@given(PASSWORDS, st.sampled_from(HIDDEN))
def test_repr_hides_passwords(password: str, keywords: Any) -> None:
    assert_hidden(password, repr(Config(['foo'], **keywords(password))))
