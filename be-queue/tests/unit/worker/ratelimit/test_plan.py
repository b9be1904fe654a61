from __future__ import annotations

import pytest

from be_queue import SettingError
from be_queue.worker.ratelimit import Limit, limiters
from be_queue.worker.ratelimit.plan import check, plan

SERVICE = {'RATELIMIT_HOST': 'limits:8080', 'RATELIMIT_DOMAIN': 'shop'}
REDIS = {'RATELIMIT_REDIS_URL': 'redis://:hush@redis:6379/0'}


def entry(name: str | None = None, limit: str | None = None) -> dict[str, str | None]:
    return {'name': name, 'limit': limit}


def faults_of(config, ratelimits) -> list[str]:
    with pytest.raises(SettingError) as caught:
        check(config, ratelimits)
    return str(caught.value).splitlines()


def only(config, limits: list[Limit]) -> tuple[str, str, str | None]:
    """Return what keeps the one limit, its name there, and its text."""
    (limit,) = limits
    limiter = limiters(config, limits)['q']
    storage = getattr(getattr(limiter, '_counter', None), 'storage', limiter)
    return type(storage).__name__, limit.name, limit.item and str(limit.item)


@pytest.mark.parametrize(
    ('settings', 'limit', 'kept'),
    [
        # RATELIMIT_REDIS_URL is not looked at where no limit needs it.
        (
            SERVICE | {'RATELIMIT_REDIS_URL': 'nonsense'},
            entry('mail', '5/second'),
            ('Service', 'mail', None),
        ),
        (SERVICE | REDIS, entry(None, '5/second'), ('RedisStorage', 'q', '5 per 1 second')),
        (REDIS, entry('mail', '7 per 2 hours'), ('RedisStorage', 'prod-mail', '7 per 2 hour')),
        ({}, entry('mail', '100/minute'), ('MemoryStorage', 'prod-mail', '100 per 1 minute')),
        # A domain is needed for names only.
        ({'RATELIMIT_HOST': 'limits'}, entry(None, '1/DAY'), ('MemoryStorage', 'q', '1 per 1 day')),
    ],
)
def test_who_keeps_a_limit(configured, settings, limit, kept) -> None:
    config = configured(ENV='prod', **settings)
    assert only(config, plan(config, {'q': limit})) == kept


def test_a_name_alone_is_no_limit_without_the_service(configured) -> None:
    assert plan(configured(**REDIS), {'q': entry('mail')}) == []


def test_queues_of_one_name_share_a_limit_and_users_do_not(configured) -> None:
    config = configured(USERNAME='alice', **REDIS)
    limits = plan(config, {'a': entry('mail', '5/second'), 'b': entry('mail', '5/second')})
    assert [limit.name for limit in limits] == ['alice-local-mail'] * 2


@pytest.mark.parametrize(
    'text', ['', '100', '-5/minute', '0/second', 'ten/minute', '5/second; 100/minute', '5 second']
)
@pytest.mark.parametrize('settings', [{}, SERVICE])
def test_a_bad_limit_names_queue_value_and_what_is_allowed(configured, settings, text) -> None:
    (fault,) = faults_of(configured(**settings), {'prod-mail': entry('mail', text)})
    assert fault.startswith(f'queue prod-mail: ratelimit={text!r}: must be one limit such as ')


@pytest.mark.parametrize(
    'url', ['rediss://redis:6380/1?ssl_cert_reqs=none', 'redis+unix:///run/redis.sock?db=1']
)
def test_urls_of_redis(configured, url) -> None:
    config = configured(RATELIMIT_REDIS_URL=url)
    assert only(config, plan(config, {'q': entry(None, '5/second')}))[0] == 'RedisStorage'


@pytest.mark.parametrize(
    'url',
    [
        ':hush@redis:6379', 'redis:hush@x', 'http://:hush@redis:6379', 'redis://:hush@redis:port',
        'redis://:hu/sh@redis:6379', 'redis://:hush#s@redis', 'redis://:hush@redis?no_such=1',
    ],
)  # fmt: skip
def test_a_url_that_is_none_of_redis(configured, url) -> None:
    config = configured(RATELIMIT_REDIS_URL=url)
    (fault,) = faults_of(config, {'a': entry(None, '5/second'), 'b': entry(None, '5/second')})
    assert fault.startswith('RATELIMIT_REDIS_URL: must be a URL such as redis://host:6379/0, ')
    assert 'hush' not in fault


def test_all_faults_are_told_at_once_one_line_each(configured) -> None:
    config = configured(RATELIMIT_HOST='http://limits/json', RATELIMIT_REDIS_URL='nonsense')
    ratelimits = {
        'a': entry(None, '5'),
        'b': entry('mail'),
        'c': entry('sms', '5/second'),
        'd': entry('sms', '100/minute'),
        'e': entry(None, '5/second'),
    }
    faults = dict(fault.split(': ', 1) for fault in faults_of(config, ratelimits))
    assert list(faults) == ['queue a', 'queue b', 'queue c', 'queue d', 'RATELIMIT_REDIS_URL']
    assert 'limits/json, which has it in a domain: set RATELIMIT_DOMAIN' in faults['queue b']
    assert faults['queue d'] == (
        "ratelimit='100/minute': queue c has '5/second' under the same ratelimit_name='sms', and "
        'queues of one name share a limit'
    )


def test_elsewhere_a_limit_that_each_worker_keeps_for_itself_is_worth_a_warning(
    configured, caplog
) -> None:
    ratelimits = {'a': entry(None, '5/second'), 'b': entry('mail')}
    check(configured(ENV='local', **SERVICE), ratelimits)
    assert not caplog.records
    check(configured(ENV='prod', **SERVICE), ratelimits)
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    assert 'queue a: each worker keeps its limit 5 per 1 second for itself' in record.getMessage()
    assert 'RATELIMIT_REDIS_URL' in record.getMessage()
    check(configured(ENV='prod', **SERVICE, **REDIS), ratelimits)
    assert len(caplog.records) == 1
