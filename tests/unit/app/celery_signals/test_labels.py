from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from app.utils.celery_signals.labels import UNKNOWN, labels, labels_of


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
