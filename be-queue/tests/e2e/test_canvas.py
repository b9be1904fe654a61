"""Celery's canvas over SQS, with results in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.worker import Site

TRANSPORT = 'be_queue.transport:Transport'
#: Seconds for a result, on a busy machine.
PATIENCE = 60


def own_settings(site: Site) -> dict[str, str]:
    names = [name for name in site.environment if name.startswith(('RESULT_DB_', 'SQS_'))]
    return {name: site.environment[name] for name in names}


@pytest.fixture(scope='module')
def app(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Celery]:
    """A producer; a worker runs what it sends."""
    site = Site(tmp_path_factory.mktemp('canvas'), sqs.url, postgres.environment)
    producer = build(site.username, broker_transport=TRANSPORT, **own_settings(site))
    with own_worker(site, CELERY_BROKER_TRANSPORT=TRANSPORT):
        yield producer


@pytest.fixture
def add(app: Celery) -> Any:
    return app.tasks['tests.add']


@pytest.fixture
def total(app: Celery) -> Any:
    return app.tasks['tests.total']


@pytest.fixture
def fail(app: Celery) -> Any:
    return app.tasks['tests.fail']


def test_a_chain_that_goes_on_to_no_queue_keeps_the_result_before(
    app: Celery, add: Any, sqs: SqsServer
) -> None:
    result = chain(add.s(1, 1), app.signature('tests.ad', args=(1,))).apply_async()
    assert result.parent is not None
    assert result.parent.get(timeout=PATIENCE) == 2
    dead = f'err-{app.conf.QUEUES.prefix}-celery'
    wait_until(lambda: sqs.visible(dead) == 1, 'the misspelt task is a dead letter', PATIENCE)


def test_they_nest(app: Celery, add: Any, total: Any) -> None:
    inner = chord([add.s(1, 1), chain(add.s(1, 1), add.s(1))], total.s())
    # A chain after a chord, and a group after a chain, each become a chord or a group again.
    nested = chain(
        group(inner, add.s(2, 2)) | total.s(),
        group(add.s(1), add.s(2), add.s(3)),
        total.s(),
    )
    assert nested.apply_async().get(timeout=PATIENCE) == 3 * 9 + 6


def test_a_callback_runs_after_its_task(app: Celery, add: Any) -> None:
    link = add.s(1).set(task_id=str(uuid.uuid4()))
    add.apply_async((1, 1), link=link)
    assert AsyncResult(link.options['task_id'], app=app).get(timeout=PATIENCE) == 3


def test_error_callbacks_learn_of_the_failure(app: Celery, add: Any, fail: Any) -> None:
    sent = app.tasks['tests.note_failed'].s().set(task_id=str(uuid.uuid4()))
    called = app.tasks['tests.note_error'].s()

    result = chain(add.s(1, 1), fail.s(), add.s(1)).on_error(sent).on_error(called).apply_async()

    failed = result.parent
    with pytest.raises(ValueError, match='on purpose'):
        failed.get(timeout=PATIENCE)
    assert AsyncResult(sent.options['task_id'], app=app).get(timeout=PATIENCE) == failed.id
    error = AsyncResult(f'error-{failed.id}', app=app).get(timeout=PATIENCE)
    assert error == "ValueError('on purpose')"
    # The next task never runs, and is told of the failure.
    assert result.state == 'FAILURE'


def test_a_chord_whose_header_fails_fails(app: Celery, add: Any, total: Any, fail: Any) -> None:
    sent = app.tasks['tests.note_failed'].s().set(task_id=str(uuid.uuid4()))
    body = total.s().on_error(sent)

    result = chord([add.s(1, 1), fail.s()], body).apply_async()

    wait_until(result.failed, 'the body has failed')
    assert isinstance(result.result, ChordError)
    assert 'on purpose' in str(result.result)
    assert AsyncResult(sent.options['task_id'], app=app).get(timeout=PATIENCE) == result.id


def test_a_chord_whose_header_does_not_finish_fails_and_says_so(site: Site) -> None:
    producer = build(site.username, broker_transport=TRANSPORT, **own_settings(site))
    add, total = producer.tasks['tests.add'], producer.tasks['tests.total']
    with own_worker(site, CELERY_BROKER_TRANSPORT=TRANSPORT, CHORD_TIMEOUT=2) as worker:
        result = chord([add.s(1, 1), add.s(1, 1).set(countdown=600)], total.s()).apply_async()

        wait_until(result.failed, 'the body has failed', timeout=PATIENCE)
        assert isinstance(result.result, ChordError)
        for text in (str(result.result), worker.log):
            assert f'the header of chord {result.parent.id} has not finished' in text
            assert f'its body tests.total[{result.id}] fails' in text
        assert worker.log.count('Traceback') == 1
