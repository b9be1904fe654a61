"""A bad event is an error where it is logged."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest

from be_queue.worker.fluent.fields import MAX_FIELDS, check


@pytest.mark.parametrize('table', ['abc', 'page_views', '012', 'a' * 128])
@pytest.mark.parametrize(
    'fields',
    [
        {'grüße': '\U0001f600', 'n': 2**64 - 1, 'm': -(2**63), 'b': b'\xff'},
        {'visit': {'time': 1, 'v': [{'time': 2}]}},
        {f'f{n}': n for n in range(MAX_FIELDS)},
    ],
    ids=['values', 'reserved names further in', 'many'],
)
def test_events_that_treasure_data_takes(table: str, fields: dict[str, Any]) -> None:
    check(table, fields)


@pytest.mark.parametrize('table', ['', 'ab', 'a' * 129, 'Orders', 'page-views', 'a.b', b'orders'])
def test_a_table_that_it_does_not_take_is_named(table: Any) -> None:
    with pytest.raises(ValueError, match=r'table .*: must be 3 to 128 lower'):
        check(table, {})


@pytest.mark.parametrize(
    ('fields', 'fault'),
    [
        ({'time': 1}, "field 'time': Treasure Data has that column itself"),
        ({'v': 1}, "field 'v': Treasure Data has that column itself"),
        ({'user': 1, 'total': decimal.Decimal('1.5')}, "field 'total': Decimal can not serialize"),
        ({'at': datetime.datetime(2026, 1, 1)}, "field 'at': datetime can not serialize"),
        ({'order': {'lines': [{'hush'}]}}, "field 'order': dict can not serialize 'set' object"),
        ({'n': 2**64}, "field 'n': int Integer value out of range"),
        ({'a': 'hush\ud800'}, "field 'a': str .* surrogates not allowed"),
        ({'a\ud800': 1}, r"field 'a\\ud800': int .* surrogates not allowed"),
        ({1: 'hush'}, 'field 1: a name must be a text'),
        ({'': 'hush'}, "field '': a name must be a text"),
        ([('a', 'hush')], 'an event is a list: must be a dict of its fields'),
        ({f'f{n}': n for n in range(MAX_FIELDS + 1)}, 'an event has 512 fields: at most 511'),
    ],
)
def test_a_field_that_cannot_be_sent_is_named_without_its_value(fields: Any, fault: str) -> None:
    with pytest.raises((TypeError, ValueError), match=fault) as caught:
        check('events', fields)
    assert 'hush' not in str(caught.value)
