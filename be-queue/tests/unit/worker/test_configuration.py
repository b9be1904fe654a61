from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, SecretStr, model_validator

from app.config.configuration import Config, WorkerConfig
from be_queue import Queue, Queues, SettingError
from be_queue.worker.settings import ConfigError, use
from be_queue.worker.settings.worker_config import TASK_TIME_LIMIT

QUEUES = [Queue(queue_name='add', task='add')]


def worker_config(config, **settings):
    return WorkerConfig(config, Queues(QUEUES), **settings)


def test_the_defaults_are_for_a_developers_machine(configured):
    config = configured()
    assert (config.env, config.host, config.server_port) == ('local', '127.0.0.1', 8080)
    assert config.prefix == 'python_backend_worker_template'
    assert config.sqs_url == 'http://test:test@127.0.0.1:4566'
    assert worker_config(config).result_backend.startswith('db+sqlite:///')


def test_elsewhere_it_listens_to_all_and_uses_aws_and_postgresql(configured):
    config = configured(ENV='prod', RESULT_DB_PASS='p@ss/word')
    assert (config.host, config.sqs_url) == ('0.0.0.0', '')
    settings = worker_config(config)
    assert settings.broker_url == 'sqs://'
    assert settings.result_backend == (
        'db+postgresql+psycopg://cadasta:p%40ss%2Fword@localhost:5432/cadasta'
    )


@pytest.mark.parametrize(
    ('endpoint', 'port', 'url'),
    [
        ('embedded', 4566, 'http://test:test@127.0.0.1:4566'),
        ('embedded:4570', 4570, 'http://test:test@127.0.0.1:4570'),
        ('http://sqs:9324', None, 'http://sqs:9324'),
        ('', None, ''),
    ],
)
def test_the_sqs_server_is_ours_another_or_amazons(configured, endpoint, port, url):
    config = configured(SQS_ENDPOINT_URL=endpoint)
    assert (config.embedded_sqs_port, config.sqs_url) == (port, url)


def test_environment_wins_over_the_file_and_the_file_over_defaults(configured, monkeypatch):
    for name in ('SERVICE_NAME', 'CELERY_WORKER_CONCURRENCY'):
        monkeypatch.setenv(
            name, 'x'
        )  # restored afterwards: the file's are put into the environment
        monkeypatch.delenv(name)
    text = 'SERVICE_NAME=from-file\nAWS_REGION=eu-west-1\nCELERY_WORKER_CONCURRENCY=3\n'
    config = configured(text, AWS_REGION='eu-north-1')
    assert (config.service_name, config.aws_region) == ('from-file', 'eu-north-1')
    assert worker_config(config).worker_concurrency == 3


def test_a_variable_close_to_a_setting_is_warned_of(configured, monkeypatch, caplog):
    meant = {'SENTRY_DNS': 'SENTRY_DSN', 'RESULT_DB_PASSWORD': 'RESULT_DB_PASS'}
    for name in (*meant, 'POSTGRES_PASSWORD', 'SERVER_NAME'):
        monkeypatch.setenv(name, 'x')
    worker_config(configured())
    assert sorted(caplog.messages) == [
        f'{name} is no setting of this worker: did you mean {hint}?'
        for name, hint in sorted(meant.items())
    ]


def test_an_empty_variable_counts_as_unset(configured):
    names = ('SERVER_PORT', 'AWS_REGION', 'METRICS_PREFIX', 'RATELIMIT_HOST', 'SENTRY_DSN')
    assert configured(**dict.fromkeys(names, '')) == configured()


def test_an_empty_platform_queue_name_switches_it_off(configured):
    settings = worker_config(configured(PLATFORM_QUEUE_NAME='', USERNAME='u'))
    assert {queue.name for queue in settings.task_queues} == {'u-local-celery', 'u-local-add'}
    assert settings.not_consumed() == []


def faults(configured, **variables) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        configured(**variables)
    return str(caught.value).splitlines()


def test_every_fault_has_a_line_with_variable_value_and_rule(configured):
    lines = faults(
        configured,
        ENV='a b',
        SERVER_PORT='eighty',
        METRICS_PREFIX='1st',
        SQS_CREATE_QUEUES='maybe',
        SQS_ENDPOINT_URL='ftp://x:hush@y',
    )
    assert sorted(lines) == [
        "ENV='a b': must be letters, digits, '-' and '_', for example prod",
        "METRICS_PREFIX='1st': must be letters, digits and '_', without a digit in front",
        "SERVER_PORT='eighty': must be a whole number",
        "SQS_CREATE_QUEUES='maybe': must be true or false",
        f"SQS_ENDPOINT_URL='ftp://***@y': must be {SQS}",
    ]


SQS = (
    "a URL such as http://127.0.0.1:4566 without an IPv6 address, 'embedded', or empty for "
    "Amazon's own"
)
RATELIMIT = 'host:port or a URL without a login, for example ratelimit:8080'
LOCAL_ALONE = (
    'a URL, or empty for AWS, while ENV=prod: the embedded server begins empty, keeps messages in '
    'memory and is for ENV=local alone'
)
FAULTS = {
    'SQS_ENDPOINT_URL': (
        SQS,
        ['http://[::1]:4566', 'http://sqs:port', 'http://sqs:4566/path', 'sqs', 'embedded:99999'],
    ),
    'RATELIMIT_HOST': (
        RATELIMIT,
        [
            *(':8080', 'limits:port', 'limits:70000', 'redis://limits:6379', 'http://'),
            *('limits of ours', 'limits?a=1', 'http://limits/json#top', '[::1'),
        ],
    ),
    'RATELIMIT_TIMEOUT': ('', ['0', '10.1', 'nan', '100ms']),
    'RATELIMIT_FAILURE_POLICY': ("'open' or 'closed'", ['ajar']),
    'SENTRY_SAMPLE_RATE': ('', ['0', '1.1']),
    'LOG_LEVEL': ("'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'", ['loud']),
    'RESULT_DB_PORT': ('', ['70000']),
}


@pytest.mark.parametrize(
    ('name', 'value', 'allowed'),
    [(name, value, allowed) for name, (allowed, values) in FAULTS.items() for value in values],
)
def test_a_value_that_cannot_be_used_is_refused(configured, name, value, allowed):
    (line,) = faults(configured, **{name: value})
    shown = value.upper() if name == 'LOG_LEVEL' else value
    assert line.startswith(f'{name}={shown!r}: must be {allowed}')


def test_settings_that_do_not_go_together_have_a_line_each(configured):
    lines = faults(
        configured,
        ENV='prod',
        SQS_ENDPOINT_URL='embedded:4570',
        FLUENT_HOST='fluentd',
        TRACING_EXPORTER='otlp',
        JAEGER_SAMPLER_PARAM='0.5',
    )
    assert lines[0] == f"SQS_ENDPOINT_URL='embedded:4570': must be {LOCAL_ALONE}"
    assert [line.partition('=')[0] for line in lines[1:]] == [
        'TD_DATABASE',
        'OTEL_EXPORTER_OTLP_ENDPOINT',
        'JAEGER_SAMPLER_PARAM',
    ]


KEY = 'c0ffee1234567890'


@pytest.mark.parametrize(
    'dsn',
    [
        KEY,
        f'ftp://{KEY}@sentry.example.com/42',
        'https://sentry.example.com/42',
        f'https://{KEY}@sentry.example.com',
        f'https://{KEY}@sentry.example.com:port/42',
    ],
)
def test_a_wrong_dsn_is_named_and_not_shown(configured, dsn):
    right = f'http://{KEY}:secret@[::1]:9000/behind/a/path/7'
    assert configured(SENTRY_DSN=right).sentry_dsn.get_secret_value() == right
    assert faults(configured, SENTRY_DSN=dsn) == [
        'SENTRY_DSN=***: must be a DSN such as https://KEY@sentry.example.com/42'
    ]


@pytest.mark.parametrize('logins', ['ann', 'ann:short', ':correct-horse', 'ann:hush-hush bob:'])
def test_logins_and_tokens_that_are_easily_guessed_are_refused_and_not_shown(
    configured, logins: str
) -> None:
    (line,) = faults(configured, DASHBOARD_AUTH=logins)
    assert line.startswith('DASHBOARD_AUTH=***: must be USER:PASSWORD, several separated by commas')
    (line,) = faults(configured, DASHBOARD_AUTH='', ADMIN_TOKEN='hush-hush-hush')
    assert line.startswith('ADMIN_TOKEN=***: must be 16 characters or more')
    right = configured(ADMIN_TOKEN='', DASHBOARD_AUTH=' ann:hush:hush,bob:battery-staple ')
    passwords = {user: secret.get_secret_value() for user, secret in right.dashboard_auth.items()}
    assert passwords == {'ann': 'hush:hush', 'bob': 'battery-staple'}
    assert 'hush' not in repr(right)


@pytest.mark.parametrize(
    ('host', 'url'),
    [
        # The service's own port is for hosts alone: a URL has that of its scheme.
        ('limits', 'http://limits:8080/json'),
        ('limits:80', 'http://limits:80/json'),
        ('[::1]', 'http://[::1]:8080/json'),
        ('[::1]:81', 'http://[::1]:81/json'),
        ('http://limits', 'http://limits/json'),
        ('http://limits:81/json/', 'http://limits:81/json'),
        ('https://limits/of/ours', 'https://limits/of/ours/json'),
    ],
)
def test_forms_of_the_rate_limit_service(configured, host, url):
    assert configured(RATELIMIT_HOST=host).ratelimit_url == url


@pytest.mark.parametrize('host', ['https://me:hush@limits', 'me:hush@limits:8080', 'hush@limits'])
def test_a_login_of_the_rate_limit_service_is_refused_and_not_shown(configured, host):
    (line,) = faults(configured, RATELIMIT_HOST=host)
    assert line.endswith(f"@{host.partition('@')[2]}': must be {RATELIMIT}")
    assert 'hush' not in line


LONG = Field(min_length=99)


class Part(BaseModel):
    count: int
    token: Annotated[SecretStr, LONG] = SecretStr('x' * 99)


class Mine(Config):
    bucket: str
    peers: tuple[str, ...] = ()
    api_key: Annotated[str, LONG] = 'x' * 99
    upstream: Annotated[str, LONG] = 'x' * 99
    own: Annotated[SecretStr, LONG, Field(validation_alias='ALIAS')] = SecretStr('x' * 99)
    part: Part | None = None

    @model_validator(mode='after')
    def _goes_together(self):
        if self.bucket == 'alone':
            raise ValueError('set BUCKET with PEERS')
        return self


@pytest.mark.parametrize(
    ('variables', 'line'),
    [
        ({'BUCKET': ''}, 'BUCKET is missing: it must be set'),
        ({'BUCKET': 'alone'}, 'set BUCKET with PEERS'),
        ({'PEERS': 'hush'}, 'PEERS must be JSON, since it is a list or a dict'),
        ({'API_KEY': 'hush'}, "API_KEY='***': must be valid: String should have at least 99 "),
        ({'UPSTREAM': 'https://hush@host/path'}, "UPSTREAM='https://***@host/path': must be "),
        ({'UPSTREAM': 'hush:hush@host'}, "UPSTREAM='***@host': must be valid: "),
        ({'ALIAS': 'hush'}, 'ALIAS=***: must be valid: '),
        ({'PART': '{"count": 1, "token": "hush"}'}, 'PART.TOKEN=***: must be valid: '),
        ({'PART': '{"token": "hush"}'}, 'PART.COUNT is missing: it must be set'),
    ],
)
def test_a_fault_shows_no_other_setting_and_no_secret(configured, variables, line):
    use(Mine)
    others = {'BUCKET': 'b', 'VAULT_TOKEN': 'hush', 'SENTRY_DSN': 'https://hush@example.com/1'}
    said = faults(configured, **(others | variables))
    assert any(each.startswith(line) for each in said)
    assert 'hush' not in str(said)


def test_no_representation_shows_a_password(configured):
    config = configured(
        RESULT_DB_PASS='hush',
        SQS_ENDPOINT_URL='http://key:hush@sqs:1',
        RATELIMIT_REDIS_URL='redis://:hush@redis:6379',
        SENTRY_DSN='https://hush@sentry.example.com/42',
    )
    assert 'hush' not in repr(config)
    assert 'hush' not in repr(worker_config(config))


def test_reliability_is_the_default(configured):
    settings = worker_config(configured(SQS_CREATE_QUEUES='false'), task_time_limit=7200)
    assert settings.task_acks_late is True
    assert settings.task_reject_on_worker_lost is True
    assert settings.worker_prefetch_multiplier == 1
    assert settings.worker_max_tasks_per_child == 10_000
    assert settings.worker_proc_alive_timeout == 60
    # Messages of a dead worker are visible again within a minute, however long tasks take.
    assert settings.broker_transport_options['visibility_timeout'] == 60
    assert settings.broker_transport_options['create_queues'] is False


def test_the_soft_time_limit_comes_before_the_hard_one(configured):
    for limit in (None, 2, 7200):
        settings = worker_config(configured(), task_time_limit=limit)
        assert settings.task_soft_time_limit < (limit or TASK_TIME_LIMIT)
    fault = 'CELERY_TASK_SOFT_TIME_LIMIT=700: must be below CELERY_TASK_TIME_LIMIT, which is 600; '
    with pytest.raises(SettingError, match=fault):
        worker_config(configured(CELERY_TASK_SOFT_TIME_LIMIT='700'))


@pytest.mark.parametrize(
    ('variables', 'key'),
    [({}, 'timeout'), ({'RESULT_DB_HOST': 'db'}, 'tcp_user_timeout')],
    ids=['sqlite', 'postgresql'],
)
def test_a_database_that_does_not_answer_is_given_up_soon(configured, variables, key):
    settings = worker_config(configured(**variables))
    assert key in settings.database_engine_options['connect_args']
