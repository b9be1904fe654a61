"""The settings of event logs."""

from __future__ import annotations

import pytest

from be_queue.worker.settings import ConfigError


def test_they_are_off_by_default_and_empty_is_unset(configured) -> None:
    config = configured()
    assert (config.fluent_host, config.td_database) == (None, None)
    assert (config.fluent_port, config.fluent_buffer) == (24224, 4 * 1024 * 1024)
    names = ('FLUENT_HOST', 'FLUENT_PORT', 'TD_DATABASE', 'FLUENT_BUFFER')
    assert configured(**dict.fromkeys(names, '')) == config


@pytest.mark.parametrize('host', ['localhost', '10.0.0.1', 'fluentd.logs.svc', 'fluent_1', 'a.b.'])
def test_hosts(configured, host) -> None:
    assert configured(FLUENT_HOST=host, TD_DATABASE='web').fluent_host == host


@pytest.mark.parametrize(
    ('name', 'value', 'rule'),
    [
        *(
            ('FLUENT_HOST', host, "must be a host's name or IPv4 address alone")
            for host in ('fluent:24224', 'tcp://fluent', '::1', 'a b', 'a..b', 'x' * 64, 'a.' * 127)
        ),
        *(
            ('TD_DATABASE', database, 'must be 3 to 128 lower-case letters')
            for database in ('ab', 'a' * 129, 'Web', 'web-logs', 'web.logs')
        ),
        ('FLUENT_PORT', '0', 'must be '),
        ('FLUENT_PORT', '65536', 'must be '),
        ('FLUENT_BUFFER', '4095', 'must be '),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(configured, name, value, rule) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**{name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f'{name}={value!r}: {rule}')


def test_a_host_needs_a_database(configured) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(FLUENT_HOST='fluent')
    assert str(caught.value) == (
        'TD_DATABASE=None: must be set, since FLUENT_HOST is: 3 to 128 lower-case letters, '
        "digits and '_', for example page_views"
    )
