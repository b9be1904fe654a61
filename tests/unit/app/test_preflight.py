from __future__ import annotations

from pathlib import Path

import pytest

from app.preflight import prepare_metrics_directory

EARLIER = """
counter_7.db gauge_livemostrecent_7.db histogram_8.2.dead counter.2.folded counter.3.draft
worker.json worker.17
"""


def test_nothing_of_an_earlier_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PROMETHEUS_MULTIPROC_DIR', '')
    for name in EARLIER.split():
        (tmp_path / name).touch()
    (tmp_path / 'somebody-elses.txt').touch()
    prepare_metrics_directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['somebody-elses.txt']
