"""What an event may hold is known where it is logged."""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import uuid
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.fluent.fields import MAX_DEPTH, MAX_FIELDS, check_fields, check_table


class Colour(enum.Enum):
    RED = 'red'


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize('table', ['abc', 'page_views', '___', '012', 'a' * 128])
def test_tables_that_treasure_data_takes(table: str) -> None:
    check_table(table)


@pytest.mark.parametrize(
    'table',
    ['', 'ab', 'a' * 129, 'Orders', 'page-views', 'page views', 'a.b', 'views\n', 'prüfung', '٣٣٣'],
)
def test_a_table_that_it_does_not_take_is_named(table: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'table {table!r}: must be 3 to 128 lower')):
        check_table(table)


def test_a_table_is_a_text() -> None:
    with pytest.raises(ValueError, match="table b'orders': must be"):
        check_table(b'orders')  # type: ignore[arg-type]


@pytest.mark.parametrize('name', ['time', 'v'])
def test_reserved_fields_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"field '{name}': Treasure Data has that column itself"):
        check_fields({'user': 1, name: 1})


def test_reserved_names_are_free_further_in() -> None:
    check_fields({'visit': {'time': 1, 'v': [{'time': 2}]}})


@pytest.mark.parametrize(
    ('value', 'kind'),
    [
        (decimal.Decimal('1.5'), 'Decimal'),
        (datetime.datetime(2026, 1, 1), 'datetime'),
        (datetime.date(2026, 1, 1), 'date'),
        ({1, 2}, 'set'),
        (frozenset({1}), 'frozenset'),
        (uuid.UUID(int=1), 'UUID'),
        (Colour.RED, 'Colour'),
        (object(), 'object'),
        (iter([1]), 'list_iterator'),
    ],
)
def test_a_value_that_cannot_be_sent_is_named(value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"field 'total': a {kind} cannot be sent"):
        check_fields({'user': 1, 'total': value})
    with pytest.raises(TypeError, match=re.escape(f"field 'order.lines[1].price': a {kind} ")):
        check_fields({'order': {'lines': [{}, {'price': value}]}})


def test_the_error_says_how_to_write_it_instead() -> None:
    with pytest.raises(TypeError, match=r'for example with str\(\) or float\(\)$'):
        check_fields({'total': decimal.Decimal('1.5')})


def test_no_error_shows_a_value() -> None:
    for fields in ({'a': {'hush'}}, {'time': 'hush'}, {'a': 'hush\ud800'}, ['hush']):
        with pytest.raises((TypeError, ValueError)) as caught:
            check_fields(fields)  # type: ignore[arg-type]
        assert 'hush' not in str(caught.value)


@pytest.mark.parametrize('number', [2**64, -(2**63) - 1])
def test_integers_have_64_bits(number: int) -> None:
    check_fields({'n': 2**64 - 1, 'm': -(2**63)})
    with pytest.raises(ValueError, match="field 'n': an integer of more than 64 bits"):
        check_fields({'n': number})


def test_half_a_surrogate_pair_is_refused() -> None:
    check_fields({'grüße': '\U0001f600'})
    for fields in ({'a': '\ud800'}, {'a\ud800': 1}, {'a': {'\ud800': 1}}):
        with pytest.raises(ValueError, match='characters that UTF-8 has not'):
            check_fields(fields)


def test_names_are_texts() -> None:
    with pytest.raises(TypeError, match='field 1: names are texts, not int'):
        check_fields({1: 'a'})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"in field 'a', key 1: names are texts, not int"):
        check_fields({'a': {1: 'a'}})
    with pytest.raises(ValueError, match="field '': a name is empty"):
        check_fields({'': 'a'})


def test_an_event_is_a_dict() -> None:
    with pytest.raises(TypeError, match='an event is a list: must be a dict of its fields'):
        check_fields([('a', 1)])  # type: ignore[arg-type]


def test_more_fields_than_the_receiver_takes_are_refused() -> None:
    check_fields({f'f{n}': n for n in range(MAX_FIELDS)})
    with pytest.raises(ValueError, match='an event has 512 fields: at most 511'):
        check_fields({f'f{n}': n for n in range(MAX_FIELDS + 1)})


def test_what_is_too_deep_or_holds_itself_is_refused() -> None:
    check_fields({'a': nested(MAX_DEPTH)})
    itself: list[Any] = []
    itself.append(itself)
    for value in (nested(MAX_DEPTH + 1), itself):
        with pytest.raises(ValueError, match=r"field 'a[\[\]0]+\.\.\.': deeper than 100"):
            check_fields({'a': value})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary()
    | st.text(st.characters(codec='utf-8')),
    lambda inner: st.lists(inner)
    | st.tuples(inner)
    | st.dictionaries(st.text(st.characters(codec='utf-8'), min_size=1), inner),
)  # fmt: skip


@settings(deadline=None)  # of a busy machine
@given(values)
def test_what_is_taken_can_be_sent(value: Any) -> None:
    check_fields({'a': value})
    assert msgpack.packb({'a': value})
