"""The settings of event logs."""

from __future__ import annotations

import pytest

from app.config.configuration import ConfigError


def fault_of(configured, **variables) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(**variables)
    (line,) = str(caught.value).splitlines()
    return line


def test_they_are_off_by_default(configured) -> None:
    config = configured()
    assert (config.fluent_host, config.td_database) == (None, None)
    assert (config.fluent_port, config.fluent_buffer) == (24224, 4 * 1024 * 1024)


def test_empty_is_unset(configured) -> None:
    names = ('FLUENT_HOST', 'FLUENT_PORT', 'TD_DATABASE', 'FLUENT_BUFFER')
    assert configured(**dict.fromkeys(names, '')) == configured()


@pytest.mark.parametrize('host', ['localhost', '10.0.0.1', 'fluentd.logs.svc', 'fluent_1', 'a.b.'])
def test_hosts(configured, host) -> None:
    assert configured(FLUENT_HOST=host, TD_DATABASE='web').fluent_host == host


@pytest.mark.parametrize(
    'host',
    ['fluent:24224', 'tcp://fluent', '::1', 'a b', 'a..b', '/run/fluent', 'x' * 64, 'a.' * 127],
)
def test_a_host_that_is_none(configured, host) -> None:
    assert fault_of(configured, FLUENT_HOST=host).startswith(
        f"FLUENT_HOST={host!r}: must be a host's name or IPv4 address alone"
    )


def test_a_host_needs_a_database(configured) -> None:
    assert fault_of(configured, FLUENT_HOST='fluent') == (
        'TD_DATABASE=None: must be set, since FLUENT_HOST is: 3 to 128 lower-case letters, '
        "digits and '_', for example page_views"
    )


@pytest.mark.parametrize('name', ['ab', 'a' * 129, 'Web', 'web-logs', 'web.logs'])
def test_a_database_that_treasure_data_does_not_take(configured, name) -> None:
    assert fault_of(configured, TD_DATABASE=name).startswith(
        f"TD_DATABASE='{name}': must be 3 to 128 lower-case letters"
    )


@pytest.mark.parametrize(
    ('name', 'value'), [('FLUENT_PORT', '0'), ('FLUENT_PORT', '65536'), ('FLUENT_BUFFER', '4095')]
)
def test_numbers_out_of_their_range(configured, name, value) -> None:
    assert fault_of(configured, **{name: value}).startswith(f"{name}='{value}': must be ")
