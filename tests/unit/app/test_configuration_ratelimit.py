from __future__ import annotations

import pytest

from app.config.configuration import ConfigError


def fault_of(configured, **variables) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(**variables)
    (line,) = str(caught.value).splitlines()
    return line


def test_by_default_there_is_no_service_and_no_redis(configured) -> None:
    config = configured()
    assert config.ratelimit_url is None
    assert config.ratelimit_domain is None
    assert config.ratelimit_redis_url is None
    assert config.ratelimit_timeout == 0.1
    assert config.ratelimit_failure_policy == 'open'


def test_empty_is_unset(configured) -> None:
    names = ('HOST', 'DOMAIN', 'REDIS_URL', 'TIMEOUT', 'FAILURE_POLICY')
    assert configured(**{f'RATELIMIT_{name}': '' for name in names}) == configured()


@pytest.mark.parametrize(
    ('host', 'url'),
    [
        # The service's own port is for hosts alone: a URL has that of its scheme.
        ('limits', 'http://limits:8080/json'),
        ('limits:81', 'http://limits:81/json'),
        ('10.0.0.1', 'http://10.0.0.1:8080/json'),
        ('[::1]', 'http://[::1]:8080/json'),
        ('[::1]:81', 'http://[::1]:81/json'),
        ('limits:81/', 'http://limits:81/json'),
        ('limits:81/json', 'http://limits:81/json'),
        ('http://limits', 'http://limits/json'),
        ('http://limits:81', 'http://limits:81/json'),
        ('http://limits:81/json', 'http://limits:81/json'),
        ('http://limits:81/json/', 'http://limits:81/json'),
        ('https://limits', 'https://limits/json'),
        ('https://limits/of/ours', 'https://limits/of/ours/json'),
        ('https://limits/of/ours/json', 'https://limits/of/ours/json'),
        ('http://[::1]:81', 'http://[::1]:81/json'),
    ],
)
def test_forms_of_the_service(configured, host, url) -> None:
    assert configured(RATELIMIT_HOST=host).ratelimit_url == url


@pytest.mark.parametrize(
    'host',
    [
        ':8080', 'limits:port', 'limits:70000', 'ftp://limits', 'http://', 'http://:81',
        'limits of ours', 'l\u00efmits', 'limits?a=1', 'http://limits/json#top', '[::1', '//', 'redis://limits:6379',
    ],
)  # fmt: skip
def test_a_host_that_is_none(configured, host) -> None:
    assert fault_of(configured, RATELIMIT_HOST=host) == (
        f'RATELIMIT_HOST={host!r}: must be host:port or a URL without a login, for example '
        'ratelimit:8080'
    )


@pytest.mark.parametrize('host', ['https://me:hush@limits', 'me:hush@limits:8080', 'hush@limits'])
def test_a_login_of_the_service_is_refused_and_not_shown(configured, host) -> None:
    line = fault_of(configured, RATELIMIT_HOST=host)
    assert 'without a login' in line
    assert 'hush' not in line


@pytest.mark.parametrize('seconds', ['0.01', '0.1', '2.5', '10'])
def test_timeouts(configured, seconds) -> None:
    assert configured(RATELIMIT_TIMEOUT=seconds).ratelimit_timeout == float(seconds)


@pytest.mark.parametrize('seconds', ['0', '0.0004', '-1', '10.1', 'nan', 'inf', '100ms'])
def test_a_timeout_that_is_none(configured, seconds) -> None:
    line = fault_of(configured, RATELIMIT_TIMEOUT=seconds)
    assert line.startswith(f'RATELIMIT_TIMEOUT={seconds!r}: must be ')


def test_policies(configured) -> None:
    for policy in ('open', 'closed'):
        assert configured(RATELIMIT_FAILURE_POLICY=policy).ratelimit_failure_policy == policy
    line = fault_of(configured, RATELIMIT_FAILURE_POLICY='ajar')
    assert line == "RATELIMIT_FAILURE_POLICY='ajar': must be 'open' or 'closed'"


def test_no_representation_shows_the_password_of_redis(configured) -> None:
    config = configured(RATELIMIT_REDIS_URL='redis://:hush@redis:6379')
    assert 'hush' not in repr(config)
