"""build_functional_tests: good apps pass every check, and each fault fails its own check alone."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery

from be_queue import Config, Queue, Queues, SettingError
from be_queue.testing import build_functional_tests
from be_queue.testing import checks as all_checks  # the classes themselves would be collected

DATABASE = 'db+postgresql+psycopg://user:pass@host/results'
WORKER = ('add', 'count')
EXCHANGE = kombu.Exchange('task_exchange', 'topic')


def mapping(**options: Any) -> Queues:
    queues = [
        Queue(queue_name='worker-add', task='add'),
        Queue(queue_name='worker-count.fifo', task='count'),
        Queue(queue_name='other', task='other', consume=False),
    ]
    return Queues(queues).build_celery('prod', **options)


QUEUES = mapping()


def nothing() -> None:
    """Do nothing, as every task here."""


def celery_app(settings: Any, *tasks: str) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(settings)
    for name in tasks:
        app.task(nothing, name=name)
    return app


def named(*tasks: str, **settings: Any) -> Celery:
    return celery_app(Config(['foo', 'bar.fifo'], result_backend=DATABASE, **settings), *tasks)


def mapped(*tasks: str, **settings: Any) -> Celery:
    return celery_app(Config(mapping(), result_backend=DATABASE, **settings), *tasks)


def by_hand(
    *tasks: str, queues: tuple[kombu.Queue, ...] = (), routes: Any = None, **changes: Any
) -> tuple[Celery, Queues]:
    """Return an app with settings of its own, and some changed queues and routes."""
    declared = {queue.name: queue for queue in (*QUEUES.celery_task_queues(), *queues)}
    settings = {
        'broker_url': 'sqs://',
        'result_backend': DATABASE,
        'task_acks_late': True,
        'task_reject_on_worker_lost': True,
        'task_queues': list(declared.values()),
        'task_routes': QUEUES.celery_task_routes() | (routes or {}),
    }
    return celery_app(settings | changes, *tasks), QUEUES


def bound(name: str, key: str, exchange: kombu.Exchange = EXCHANGE) -> tuple[kombu.Queue]:
    return (kombu.Queue(name, exchange, routing_key=key),)


def with_task(**options: Any) -> tuple[Celery, Queues]:
    app, queues = by_hand('add')
    app.task(nothing, name='count', **options)
    return app, queues


def run(app: Celery, queues: Queues | None = None) -> tuple[unittest.TestResult, set[str]]:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(build_functional_tests(app, queues))
    names = {test._testMethodName for test in suite if isinstance(test, unittest.TestCase)}
    result = unittest.TestResult()
    suite.run(result)
    return result, names


def names_of(case: type[unittest.TestCase]) -> set[str]:
    return set(unittest.defaultTestLoader.getTestCaseNames(case))


NOT_INSTALLED = 'be_queue.results:NotInstalled'
GOOD: dict[str, Callable[[], tuple[Any, ...]]] = {
    'worker with a mapping': lambda: (mapped(*WORKER),),
    'worker with queue names': lambda: (named('foo.one', 'foo.two', 'bar.fifo.x'),),
    'worker with another platform queue': lambda: (mapped(*WORKER, PLATFORM_QUEUE_NAME='audit'),),
    'worker set up by hand': lambda: by_hand(*WORKER),
    'producer with a mapping': lambda: (mapped(),),
    'producer with queue names': lambda: (named(),),
    'producer without a platform queue': lambda: (named(PLATFORM_QUEUE_NAME=''),),
    'producer with another exchange': lambda: (named(task_default_exchange='mine'),),
    'producer set up by hand': lambda: by_hand(),
    'producer without the results extra': lambda: by_hand(result_backend=NOT_INSTALLED),
}


@pytest.mark.parametrize('kind', GOOD)
def test_a_good_app_passes_every_check(kind: str) -> None:
    result, names = run(*GOOD[kind]())

    assert result.failures + result.errors + result.skipped == []
    checks = all_checks.WorkerChecks if 'worker' in kind else all_checks.ProducerChecks
    assert names == names_of(checks)
    assert result.testsRun == len(names)


def broken_apps() -> Iterator[tuple[str, Callable[[], Any], str]]:
    """Yield a check, an app that fails it, and what the failure says."""
    check = 'test_queue_names_fit_sqs'
    yield check, lambda: by_hand(*WORKER, queues=bound('a.b', 'ab')), "'a.b'"
    too_long = {'queue_name_prefix': 'p' * 70}
    yield check, lambda: by_hand(broker_transport_options=too_long), 'shorten queue_name'

    check = 'test_queues_are_declared_and_bound'
    few = QUEUES.celery_task_queues()[1:]
    yield check, lambda: by_hand(task_queues=few), "'prod-celery' is not declared"
    platform, work = 'prod-platform.fifo', 'prod-worker-add'
    yield check, lambda: by_hand(queues=bound(platform, platform)), "must be bound to '#'"
    other = kombu.Exchange('other', 'topic')
    yield check, lambda: by_hand(*WORKER, queues=bound(work, work, other)), "exchange 'other'"
    direct = kombu.Exchange('task_exchange', 'direct')
    yield check, lambda: by_hand(queues=bound(work, work, direct)), 'the direct exchange'

    check = 'test_tasks_reach_their_queue_and_the_platform_queue_only'
    twin = bound('twin', work)
    yield check, lambda: by_hand(*WORKER, queues=twin), f"'{platform}', '{work}', 'twin'"
    yield check, lambda: by_hand(queues=bound(work, work)), 'take task_queues'
    nowhere = {'add': {'exchange': EXCHANGE, 'routing_key': 'fo'}}
    yield check, lambda: by_hand(*WORKER, routes=nowhere), "'add' lands in no queue"
    diverted = {'add': {'queue': 'prod-other'}}
    yield check, lambda: mapped(*WORKER, task_routes=diverted), f"instead of '{platform}'"
    half = {'celery.backend_cleanup': {'queue': work}}
    yield check, lambda: by_hand(*WORKER, routes=half), "'celery.backend_cleanup' lands in"

    check = 'test_results_are_stored'
    yield check, lambda: by_hand(task_ignore_result=True), 'switch it off'
    yield check, lambda: by_hand(*WORKER, result_backend='disabled://'), 'no result is stored'

    check = 'test_results_are_in_a_database'
    redis = 'redis://:hunter2@host/0'
    yield check, lambda: by_hand(*WORKER, result_backend=redis), 'redis://:***@host/0'

    check = 'test_tasks_are_acknowledged_late'
    yield check, lambda: with_task(acks_late=False), "task 'count' is acknowledged"

    check = 'test_tasks_of_a_lost_child_are_run_again'
    yield check, lambda: with_task(reject_on_worker_lost=False), "task 'count' is lost"

    check = 'test_every_mapped_task_is_registered_and_no_other'
    yield check, lambda: by_hand('add'), "maps task 'count'"
    yield check, lambda: mapped(*WORKER, 'other'), "task='other'"
    yield check, lambda: named('foo.one', 'fo.two'), "task 'fo.two' is registered"


BROKEN = list(broken_apps())


@pytest.mark.parametrize(
    ('check', 'build', 'message'), BROKEN, ids=[f'{case[0]}-{case[2]}' for case in BROKEN]
)
def test_a_fault_fails_its_own_check_and_no_other(
    check: str, build: Callable[[], Celery], message: str
) -> None:
    built = build()
    result, _ = run(*(built if isinstance(built, tuple) else (built,)))

    assert result.errors == []
    assert {test._testMethodName for test, _ in result.failures} == {check}
    assert message in result.failures[0][1]
    assert 'hunter2' not in result.failures[0][1]


def test_every_check_is_broken_above() -> None:
    assert {case[0] for case in BROKEN} == names_of(all_checks.WorkerChecks)


def test_an_app_without_a_mapping_is_refused() -> None:
    app, _ = by_hand()
    with pytest.raises(SettingError, match=r'build_functional_tests\(app, QUEUES\)'):
        run(app)


def test_an_app_that_includes_its_tasks_is_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'included_tasks.py').write_text(
        'from celery import current_app\n@current_app.task(name="foo.one")\ndef one(): pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = celery_app(Config(['foo'], result_backend=DATABASE, include=['included_tasks']))
    app.set_current()

    result, names = run(app)

    assert names == names_of(all_checks.WorkerChecks)
    assert result.wasSuccessful()
