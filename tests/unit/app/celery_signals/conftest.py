"""Labels of these tests' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.utils.celery_signals import labels
from app.utils.celery_signals.labels import MOST_CLASSES
from app.utils.metrics.shared_names import SharedNames


@pytest.fixture(autouse=True)
def another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what forgets as a new process has; the test begins as the first one."""

    def begin() -> None:
        names = SharedNames(tmp_path / 'worker.exceptions', MOST_CLASSES)
        monkeypatch.setattr(labels, '_classes', names)

    begin()
    return begin
