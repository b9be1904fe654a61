"""What tests of the transport share."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery

from be_queue.testing.sqs import SqsServer
from tests.integration.scene import Scene


@pytest.fixture
def scene(sqs: SqsServer) -> Scene:
    """Queues with names that nobody else uses."""
    return Scene(sqs)


@pytest.fixture
def app(scene: Scene, tmp_path: Path) -> Celery:
    """An app whose queues exist, and whose results are in SQLite."""
    app = scene.app()
    app.conf.result_backend = f'db+sqlite:///{tmp_path}/results.sqlite'
    scene.declare(app)
    return app
