"""repr(Config(...)) can be logged."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from be_queue import Config
from tests.unit.be_queue.passwords import PASSWORDS, assert_hidden


def names_shown(config: Config) -> set[str]:
    """Return the attributes of ``config`` whose names its repr shows as keys."""
    return {name for name in vars(config) if f"'{name}': " in repr(config)}


def test_repr_shows_the_settings_and_none_of_the_internals() -> None:
    config = Config(['foo'], MY_OWN='mine', worker_concurrency=4)

    assert names_shown(config) == {name for name in vars(config) if re.match('[a-z]', name)}
    assert "'worker_concurrency': 4" in repr(config)
    assert not re.search(r"'[A-Z][A-Z_]+':", repr(config))


@settings(deadline=None)
@given(PASSWORDS)
def test_repr_hides_the_password_of_the_result_database(password: str) -> None:
    config = Config(['foo'], RESULT_DB_PASS=password)

    assert_hidden(password, repr(config))
    assert 'db+postgresql+psycopg://cadasta:***@localhost:5432/cadasta' in repr(config)


@settings(deadline=None)
@given(PASSWORDS, st.sampled_from(['broker_url', 'broker_read_url', 'result_backend']))
def test_repr_hides_the_password_of_any_url(password: str, setting: str) -> None:
    config = Config(['foo'], **{setting: f'scheme://user:{password}@host:1/path'})

    assert_hidden(password, repr(config))


OPTIONS: list[Any] = [
    lambda password: {'password': password},
    lambda password: {'client-config': {'proxies': {'https': f'http://u:{password}@proxy'}}},
    lambda password: {'predefined_queues': {'foo': {'url': 'x', 'secret_access_key': password}}},
    lambda password: {'sentinels': [('host', 1, {'sasl': [{'session_token': password}]})]},
]


@settings(deadline=None)
@given(PASSWORDS, st.sampled_from(OPTIONS))
def test_repr_hides_a_password_in_nested_options(password: str, options: Any) -> None:
    config = Config(['foo'], broker_transport_options=options(password))

    assert_hidden(password, repr(config))
