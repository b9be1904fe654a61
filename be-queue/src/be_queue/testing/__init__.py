"""Tests of a producer's or worker's Celery app against the architecture.

In a test module, for pytest as for ``python -m unittest path/to/module.py``:

    FunctionalTests = build_functional_tests(app)
"""

from __future__ import annotations

import unittest

from celery import Celery

from be_queue.queues import Queues
from be_queue.testing.checks import Declared, ProducerChecks, WorkerChecks

__all__ = ['build_functional_tests']


def build_functional_tests(app: Celery, queues: Queues | None = None) -> type[unittest.TestCase]:
    """Return a test case that checks ``app``; neither broker nor database need be there.

    Call it when the app has its settings and its tasks. An app that registers tasks of its own is
    a worker, and more is asked of it than of a producer. A ``shared_task`` belongs to every app of
    the process that imports it: test a producer in a process that does not import the worker.

    Arguments:
        queues: the queue-task mapping, built; None for that of the app's `be_queue.Config`.

    Raises `SettingError` for an app without a mapping, `MappingError` for one that was not built.
    """
    declared = Declared(app, queues)

    class FunctionalTests(WorkerChecks if declared.tasks else ProducerChecks):  # type: ignore[misc]
        pass

    FunctionalTests.declared = declared
    # Every line of a report would start with the name of this function.
    FunctionalTests.__qualname__ = 'FunctionalTests'
    return FunctionalTests
