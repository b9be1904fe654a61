"""Fixtures of the tests of the transport."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result

from be_queue.cli import main
from be_queue.testing.sqs import SqsServer
from tests.integration.operating import Run
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


@pytest.fixture
def run(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command be-queue with the app, in this process."""
    module = ModuleType('operated')
    module.app = app
    monkeypatch.setitem(sys.modules, 'operated', module)

    def run(*arguments: str, exit_code: int = 0, **kwargs: Any) -> Result:
        result = CliRunner().invoke(main, ['-A', 'operated', *arguments], **kwargs)
        assert result.exit_code == exit_code, result.output
        return result

    yield run
    module.app.close()
