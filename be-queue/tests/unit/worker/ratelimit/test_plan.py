from __future__ import annotations

import pytest

from be_queue import SettingError
from be_queue.worker.ratelimit.check import check
from be_queue.worker.ratelimit.plan import Limit, limiters, plan

SERVICE = {'RATELIMIT_HOST': 'limits:8080', 'RATELIMIT_DOMAIN': 'shop'}
REDIS = {'RATELIMIT_REDIS_URL': 'redis://:hush@redis:6379/0'}


def entry(name: str | None = None, limit: str | None = None) -> dict[str, str | None]:
    return {'name': name, 'limit': limit}


def faults_of(config, ratelimits) -> list[str]:
    with pytest.raises(SettingError) as caught:
        plan(config, ratelimits)
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
        (SERVICE, entry('mail'), ('Service', 'mail', None)),
        (SERVICE, entry('mail', '5/second'), ('Service', 'mail', None)),
        (SERVICE | REDIS, entry('mail', '5/second'), ('Service', 'mail', None)),
        (SERVICE, entry(None, '5/second'), ('MemoryStorage', 'q', '5 per 1 second')),
        (SERVICE | REDIS, entry(None, '5/second'), ('RedisStorage', 'q', '5 per 1 second')),
        (REDIS, entry(None, '5/second'), ('RedisStorage', 'q', '5 per 1 second')),
        (REDIS, entry('mail', '7 per 2 hours'), ('RedisStorage', 'prod-mail', '7 per 2 hour')),
        ({}, entry('mail', '100/minute'), ('MemoryStorage', 'prod-mail', '100 per 1 minute')),
        ({}, entry(None, '1/DAY'), ('MemoryStorage', 'q', '1 per 1 day')),
        # A domain is needed for names only.
        ({'RATELIMIT_HOST': 'limits'}, entry(None, '1/day'), ('MemoryStorage', 'q', '1 per 1 day')),
    ],
)
def test_who_keeps_a_limit(configured, settings, limit, kept) -> None:
    config = configured(ENV='prod', **settings)
    assert only(config, plan(config, {'q': limit})) == kept


@pytest.mark.parametrize('settings', [{}, REDIS])
def test_a_name_alone_is_no_limit_without_the_service(configured, settings) -> None:
    assert plan(configured(**settings), {'q': entry('mail')}) == []


def test_queues_of_one_name_share_a_limit_and_users_do_not(configured) -> None:
    config = configured(USERNAME='alice', **REDIS)
    limits = plan(config, {'a': entry('mail', '5/second'), 'b': entry('mail', '5/second')})
    assert [limit.name for limit in limits] == ['alice-local-mail'] * 2


@pytest.mark.parametrize('text', ['4294967296000/second', '1/year', '1 per 366 days'])
def test_numbers_may_be_large(configured, text) -> None:
    (limit,) = plan(configured(), {'q': entry(None, text)})
    assert limit.item is not None


@pytest.mark.parametrize(
    'text',
    [
        '', '100', '-5/minute', '0/second', 'ten/minute', '5/second; 100/minute', '1.5/second',
        '5/fortnight', '5/ 0 seconds', '5/', '5 second', '1 per 367 days', '9' * 5000 + '/second',
    ],
)  # fmt: skip
@pytest.mark.parametrize('settings', [{}, SERVICE])
def test_a_bad_limit_names_queue_value_and_what_is_allowed(configured, settings, text) -> None:
    for limit in (entry(None, text), entry('mail', text)):
        (fault,) = faults_of(configured(**settings), {'prod-mail': limit})
        assert fault.startswith(f'queue prod-mail: ratelimit={text!r}: must be one limit such as ')


def test_to_receive_nothing_there_is_another_way(configured) -> None:
    (fault,) = faults_of(configured(), {'q': entry(None, '0/second')})
    assert fault.endswith('; to receive nothing, set consume=False')


def test_limits_of_one_name_must_be_the_same(configured) -> None:
    ratelimits = {
        'a': entry('mail', '5/second'),
        'b': entry('mail', '100/minute'),
        'c': entry('sms', '100/minute'),
    }
    assert faults_of(configured(), ratelimits) == [
        "queue b: ratelimit='100/minute': queue a has '5/second' under the same "
        "ratelimit_name='mail', and queues of one name share a limit"
    ]


def test_the_service_needs_a_domain(configured) -> None:
    config = configured(RATELIMIT_HOST='http://limits:8080/json')
    faults = faults_of(config, {'a': entry('mail'), 'b': entry('sms', '5/second')})
    assert [fault.partition(':')[0] for fault in faults] == ['queue a', 'queue b']
    assert all('limits:8080/json, which has it in a domain: set RATELIMIT' in f for f in faults)


@pytest.mark.parametrize(
    'url',
    [
        'redis://:hush@redis:6379/0', 'redis://redis', 'rediss://redis:6380/1?ssl_cert_reqs=none',
        'redis+unix:///run/redis.sock?db=1', 'redis://%3Auser:hu%2Fsh@redis', 'redis://[::1]:6379/0',
    ],
)  # fmt: skip
def test_urls_of_redis(configured, url) -> None:
    config = configured(RATELIMIT_REDIS_URL=url)
    assert only(config, plan(config, {'q': entry(None, '5/second')}))[0] == 'RedisStorage'


@pytest.mark.parametrize(
    'url',
    [
        'hush', ':hush@redis:6379', 'redis:hush@x', 'http://:hush@redis:6379', 'memory://',
        'async+redis://:hush@redis', 'redis+cluster://:hush@redis:6379', 'redis://:hush@redis:port',
        'redis://:hush@redis:0', 'redis://:hu/sh@redis:6379', 'redis://:hush#s@redis',
        'redis://:hush?s@redis', 'redis://:hush@redis?no_such_option=1', 'redis://[::1',
    ],
)  # fmt: skip
def test_a_url_that_is_none_of_redis(configured, url) -> None:
    config = configured(RATELIMIT_REDIS_URL=url)
    ratelimits = {'a': entry(None, '5/second'), 'b': entry(None, '5/second')}
    (fault,) = faults_of(config, ratelimits)
    assert fault.startswith('RATELIMIT_REDIS_URL: must be a URL such as redis://host:6379/0, ')
    assert 'hush' not in fault


def test_a_url_that_no_limit_needs_is_not_looked_at(configured) -> None:
    config = configured(RATELIMIT_REDIS_URL='nonsense', **SERVICE)
    assert only(config, plan(config, {'q': entry('mail')}))[0] == 'Service'


def test_all_faults_are_told_at_once_one_line_each(configured) -> None:
    config = configured(RATELIMIT_HOST='limits', RATELIMIT_REDIS_URL='nonsense')
    ratelimits = {
        'a': entry(None, '5'),
        'b': entry('mail'),
        'c': entry('sms', 'x/y'),
        'd': entry(None, '5/second'),
    }
    faults = faults_of(config, ratelimits)
    assert [fault.partition(': ')[0] for fault in faults] == [
        'queue a',
        'queue b',
        'queue c',
        'RATELIMIT_REDIS_URL',
    ]
    with pytest.raises(SettingError) as caught:
        check(config, ratelimits)
    assert str(caught.value).splitlines() == faults


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
    caplog.clear()
    check(configured(ENV='prod', **SERVICE, **REDIS), ratelimits)
    assert not caplog.records
