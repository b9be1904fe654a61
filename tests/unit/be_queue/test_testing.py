"""build_functional_tests: good apps pass every check, and each fault fails its own check alone."""

from __future__ import annotations

import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.testing import build_functional_tests
from be_queue.testing import checks as all_checks  # the classes themselves would be collected
from tests.unit.be_queue.apps import (
    DATABASE,
    EXCHANGE,
    SILENT,
    WORKER,
    by_hand,
    celery_app,
    leaves_bar_to_others,
    mapped,
    mapping,
    readme_producer,
    with_listed_routes,
    with_queue,
    with_task,
)

ROOT = Path(__file__).parents[3]


def run(app: Celery, queues: Queues | None = None) -> tuple[unittest.TestResult, set[str]]:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(build_functional_tests(app, queues))
    names = {test._testMethodName for test in suite if isinstance(test, unittest.TestCase)}
    result = unittest.TestResult()
    suite.run(result)
    return result, names


def names_of(case: type[unittest.TestCase]) -> set[str]:
    return set(unittest.defaultTestLoader.getTestCaseNames(case))


GOOD: dict[str, Callable[[], tuple[Any, ...]]] = {
    'worker with a mapping': lambda: (mapped(*WORKER),),
    'worker with queue names': lambda: (
        celery_app(Config(['foo', 'bar'], result_backend=DATABASE), 'foo.one', 'foo.two', 'bar.x'),
    ),
    'worker with another platform queue': lambda: (
        celery_app(Config(mapping(platform_queue_name='audit'), result_backend=DATABASE), *WORKER),
    ),
    'worker that leaves a queue to others': lambda: (leaves_bar_to_others(),),
    'worker set up by hand': lambda: (by_hand(*WORKER),),
    'worker with routes as a list': lambda: (with_listed_routes(),),
    'producer with a mapping': lambda: (celery_app(Config(mapping())),),
    'producer with queue names': lambda: (celery_app(Config(['foo', 'bar.fifo'])),),
    'producer without a platform queue': lambda: (
        celery_app(Config(['foo'], PLATFORM_QUEUE_NAME='')),
    ),
    'producer as the README has it': lambda: (readme_producer(mapping()),),
    'producer as the README has it, with its mapping': lambda: (readme_producer(m := mapping()), m),
    'producer without the results extra': lambda: (
        celery_app(Config(['foo'], result_backend='be_queue.results:NotInstalled')),
    ),
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
    yield check, lambda: with_queue(kombu.Queue('a.b', EXCHANGE, 'ab')), "'dev-a.b'"
    too_long = {'queue_name_prefix': 'p' * 72}
    yield check, lambda: by_hand(broker_transport_options=too_long), 'shorten queue_name'

    check = 'test_celery_queue_is_declared'
    yield check, lambda: by_hand(*WORKER, drop='celery'), "add a queue 'celery'"

    check = 'test_platform_queue_gets_every_message'
    platform = kombu.Queue('platform.fifo', EXCHANGE, routing_key='platform.fifo')
    yield check, lambda: with_queue(platform, topology=SILENT), "bind it to '#'"
    elsewhere = kombu.Queue('platform.fifo', kombu.Exchange('other', 'topic'), routing_key='#')
    yield check, lambda: with_queue(elsewhere, topology=SILENT), "'other' of type topic"
    second = kombu.Queue('audit', EXCHANGE, routing_key='#')
    yield check, lambda: with_queue(second), "'audit', 'platform.fifo'"

    check = 'test_work_queues_are_bound_to_one_topic_exchange'
    apart = kombu.Queue('bar', kombu.Exchange('other_exchange', 'topic'), routing_key='bar')
    yield check, lambda: with_queue(apart), "'other_exchange' of type topic"
    same_name = kombu.Queue('bar', kombu.Exchange(EXCHANGE.name, 'direct'), routing_key='bar')
    yield check, lambda: with_queue(same_name), "'task_exchange' of type direct"

    check = 'test_tasks_reach_their_queue_and_the_platform_queue_only'
    twin = kombu.Queue('twin', EXCHANGE, routing_key='foo')
    yield check, lambda: with_queue(twin), "'foo', 'platform.fifo', 'twin'"
    forgetful = kombu.Queue('foo', EXCHANGE, routing_key='foo')
    yield check, lambda: with_queue(forgetful), 'declare the platform queue'
    nowhere = {'other.*': {'queue': 'nowhere'}}
    yield check, lambda: by_hand(*WORKER, task_routes=nowhere), "'other.probe' has no queue"
    undeclared = {'other.*': {'exchange': EXCHANGE, 'routing_key': 'foo'}}
    yield check, lambda: by_hand(task_routes=undeclared), "'other.probe' lands in no queue"
    diverted = {'add': {'queue': 'foo', 'routing_key': 'bar'}}
    yield check, lambda: by_hand(task_routes=diverted), "lands in 'bar', 'platform.fifo'"
    stray_route = {'add': {'queue': 'prod-other'}}
    yield check, lambda: mapped(*WORKER, task_routes=stray_route), "instead of 'prod-platform"

    check = 'test_celery_tasks_go_to_the_celery_queue'
    half = {'celery.backend_cleanup': {'queue': 'bar'}}
    yield check, lambda: by_hand(*WORKER, task_routes=half), "'celery.backend_cleanup' lands in"

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

    check = 'test_every_mapped_task_is_registered'
    yield check, lambda: by_hand('add'), "task 'count' is mapped"
    yield check, lambda: mapped('add'), "task 'count' is mapped"

    check = 'test_every_registered_task_is_mapped'
    yield check, lambda: by_hand(*WORKER, 'extra'), "task='extra'"
    yield check, lambda: mapped(*WORKER, 'other'), "task='other'"


BROKEN = list(broken_apps())


@pytest.mark.parametrize(
    ('check', 'build', 'message'), BROKEN, ids=[f'{case[0]}-{case[2]}' for case in BROKEN]
)
def test_a_fault_fails_its_own_check_and_no_other(
    check: str, build: Callable[[], Celery], message: str
) -> None:
    result, _ = run(build())

    assert result.errors == []
    assert {test._testMethodName for test, _ in result.failures} == {check}
    assert message in result.failures[0][1]
    assert 'hunter2' not in result.failures[0][1]


def test_every_check_is_broken_above() -> None:
    assert {case[0] for case in BROKEN} == names_of(all_checks.WorkerChecks)


def test_an_unbuilt_mapping_is_refused() -> None:
    app = readme_producer(mapping())

    result, _ = run(app, Queues([Queue(queue_name='worker-add', task='add')]))

    assert 'build_celery' in str(result.errors)


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


MODULE = """
from celery import Celery
from be_queue import Config
from be_queue.testing import build_functional_tests

app = Celery(set_as_current=False)
app.config_from_object(Config(['foo'], task_ignore_result=True))
FunctionalTests = build_functional_tests(app)
"""


@pytest.mark.parametrize('runner', [['unittest'], ['pytest', '-p', 'no:cacheprovider']])
def test_both_runners_find_the_tests_and_report_the_fault(
    tmp_path: Path, runner: list[str]
) -> None:
    (tmp_path / 'test_app.py').write_text(MODULE)

    run = subprocess.run(
        [sys.executable, '-m', *runner, 'test_app.py'],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
    )

    report = run.stdout + run.stderr
    assert run.returncode == 1, report
    assert 'FunctionalTests' in report
    assert 'task_ignore_result is on' in report
    count = len(names_of(all_checks.ProducerChecks))
    assert f'Ran {count} tests' in report or f'1 failed, {count - 1} passed' in report
