"""What a database says to a connection, and whether another login is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.utils.vault import database
from tests.integration.vault.conftest import APPROLE, user
from tests.support.postgres import PostgresServer
from tests.support.vault import Vault


@pytest.fixture
def full(postgres: PostgresServer) -> Iterator[Callable[[], None]]:
    """Return a function that takes every slot which is not kept for a superuser."""
    with ExitStack() as held:

        def fill() -> None:
            login = database.login()
            parts = {'host': postgres.host, 'port': postgres.port, 'dbname': postgres.name}
            while True:
                try:
                    connection = psycopg.connect(user=login.user, password=login.password, **parts)
                except psycopg.OperationalError:
                    return
                held.callback(connection.close)

        yield fill


def words(engine: Engine) -> str:
    with pytest.raises(OperationalError) as caught:
        user(engine)
    return str(caught.value)


def test_a_database_that_is_not_there_is_no_matter_of_the_login(
    started: Callable[..., Engine], vault: Vault
) -> None:
    engine = started(pooled=False, result_db_name='typo', **APPROLE)
    assert 'database "typo" does not exist' in words(engine)
    assert not database._shared.is_refused


def test_a_database_without_a_free_slot_is_no_matter_of_the_login(
    started: Callable[..., Engine], vault: Vault, full: Callable[[], None]
) -> None:
    engine = started(pooled=False, **APPROLE)
    user(engine)
    full()
    assert 'slots are reserved' in words(engine)
    assert not database._shared.is_refused


def test_what_the_database_says_to_a_wrong_login_is_kept_for_the_log(
    started: Callable[..., Engine], vault: Vault
) -> None:
    engine = started(pooled=False, **APPROLE)
    first = user(engine)
    vault.database.drop(first)
    assert 'password authentication failed' in words(engine)
    shared = database._shared
    # The thread may have replaced it already, though the machine be slow.
    assert 'password authentication failed' in shared.words or shared.read().user != first
