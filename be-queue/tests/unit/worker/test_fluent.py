"""A bad event is an error where it is logged, and a bad setting where the worker starts."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest

from be_queue.worker.fluent import MAX_FIELDS, td
from be_queue.worker.settings import ConfigError


@pytest.mark.parametrize(
    ('table', 'fields'),
    [
        ('012', {'grüße': '\U0001f600', 'n': 2**64 - 1, 'm': -(2**63), 'b': b'\xff'}),
        ('abc', {'visit': {'time': 1, 'v': [{'time': 2}]}}),
        ('a' * 128, {f'f{n}': n for n in range(MAX_FIELDS)}),
    ],
    ids=['values', 'reserved names further in', 'many'],
)
def test_events_that_treasure_data_takes(configured, table: str, fields: dict[str, Any]) -> None:
    configured()
    assert td.log(table, fields) is False  # event logs are off


@pytest.mark.parametrize(
    ('table', 'fields', 'fault'),
    [
        *(
            (table, {}, r'table .*: must be 3 to 128 lower')
            for table in ('ab', 'a' * 129, 'Orders', 'page-views', 'a.b', b'orders')
        ),
        ('events', {'time': 1}, "field 'time': Treasure Data has that column itself"),
        ('events', {'v': 1}, "field 'v': Treasure Data has that column itself"),
        ('events', {'total': decimal.Decimal('1.5')}, "field 'total': Decimal can not serialize"),
        ('events', {'at': datetime.datetime(2026, 1, 1)}, "field 'at': datetime can not serialize"),
        ('events', {'order': [{'hush'}]}, "field 'order': list can not serialize 'set' object"),
        ('events', {'n': 2**64}, "field 'n': int Integer value out of range"),
        ('events', {'a': 'hush\ud800'}, "field 'a': str .* surrogates not allowed"),
        ('events', {1: 'hush'}, 'field 1: a name must be a text'),
        ('events', {f'f{n}': n for n in range(MAX_FIELDS + 1)}, 'an event has 512 fields'),
    ],
)
def test_an_event_that_cannot_be_sent_is_an_error_without_a_value(table, fields, fault) -> None:
    with pytest.raises((TypeError, ValueError), match=fault) as caught:
        td.log(table, fields)
    assert 'hush' not in str(caught.value)


@pytest.mark.parametrize('host', ['localhost', '10.0.0.1', 'fluentd.logs.svc', 'fluent_1', 'a.b.'])
def test_hosts(configured, host) -> None:
    assert configured(FLUENT_HOST=host, TD_DATABASE='web').fluent_host == host


@pytest.mark.parametrize(
    ('name', 'value', 'rule'),
    [
        *(
            ('FLUENT_HOST', host, "must be a host's name or IPv4 address alone")
            for host in ('fluent:24224', 'tcp://fluent', '::1', 'a b')
        ),
        ('TD_DATABASE', 'web-logs', 'must be 3 to 128 lower-case letters'),
        ('FLUENT_PORT', '65536', 'must be '),
        ('FLUENT_BUFFER', '4095', 'must be '),
        ('FLUENT_HOST', 'fluent', 'TD_DATABASE=None: must be set, since FLUENT_HOST is: 3 to 128'),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(configured, name, value, rule) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**{name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith((f'{name}={value!r}: {rule}', rule))
