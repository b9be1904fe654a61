"""The template's own service, whose programs the tests start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery

from app.config.configuration import load_config
from app.config.queues import QUEUES
from be_queue.testing import site
from be_queue.testing.site import Server, Worker
from tests.support.process import ROOT, TESTS

__all__ = ['ROOT', 'SERVICE', 'Server', 'Site', 'Worker']

SERVICE = site.Service(load_config(), QUEUES)


class Site(site.Site):
    """Its surroundings; its programs find the tests' own tasks."""

    def __init__(self, folder: Path, sqs_url: str, database: Mapping[str, str]) -> None:
        super().__init__(SERVICE, folder, sqs_url, database)
        self.environment['PYTHONPATH'] = str(TESTS)

    def producer(self, **settings: Any) -> Celery:
        # The tests' own tasks go to Celery's own queue.
        return super().producer(ALLOW_UNMAPPED_TASKS=True, **settings)
