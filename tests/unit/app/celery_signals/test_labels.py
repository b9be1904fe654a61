from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from celery import Celery

from app.utils.celery_signals.labels import (
    MOST_CLASSES,
    UNKNOWN,
    exception_label,
    labels,
    labels_of,
)


def errors(prefix: str) -> list[Exception]:
    return [type(f'{prefix}{n}', (Exception,), {})() for n in range(MOST_CLASSES + 10)]


def test_classes_of_exceptions_are_of_a_bounded_number() -> None:
    many = errors('Error')
    shown = [exception_label(error) for error in many]
    assert shown[0] == 'Error0'
    assert len(set(shown)) == MOST_CLASSES + 1
    assert shown[-1] == 'other'
    # Those that were seen keep their names.
    assert [exception_label(error) for error in many] == shown


def test_a_process_in_the_place_of_another_adds_no_classes(
    another_process: Callable[[], None],
) -> None:
    many = errors('Error')
    shown = [exception_label(error) for error in many]
    another_process()
    assert {exception_label(error) for error in errors('Another')} == {'other'}
    assert [exception_label(error) for error in many] == shown


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery('unit-tests', broker='memory://')
    app.conf.update(task_default_queue='own', task_routes={})
    app.set_current()
    labels_of.cache_clear()
    yield app
    labels_of.cache_clear()
    app.close()


@pytest.mark.usefixtures('app')
def test_the_queue_is_the_one_that_the_message_came_from() -> None:
    assert labels('a', {'routing_key': 'shop.add', 'received_from': 'own'}) == (UNKNOWN, 'own')
    # Celery keeps the routing key alone, which is whatever the sender likes.
    assert labels('a', {'routing_key': 'own'}) == (UNKNOWN, 'own')
    assert labels('a', {'routing_key': 'shop.add'}) == (UNKNOWN, UNKNOWN)
