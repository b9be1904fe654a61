"""Which files count, by their names alone."""

from __future__ import annotations

from pathlib import Path

from app.web.process_metrics.files import files_by_kind

NAMES = """
counter_7.db counter_8.2.dead counter_9.4.dead counter.2.folded counter.3.folded counter.3.draft
gauge_livemostrecent_7.db histogram_7.1.dead worker.json counter.db counter_7.dead gauge_7.db
"""


def test_a_file_counts_once(tmp_path: Path) -> None:
    for name in NAMES.split():
        (tmp_path / name).touch()
    found = files_by_kind(tmp_path)
    assert found.keys() == {'counter', 'gauge_livemostrecent', 'histogram'}
    counters = found['counter']
    assert [path.name for path in counters.live.values()] == ['counter_7.db']
    assert [path.name for path in counters.current] == ['counter.3.folded']
    assert [dead.path.name for dead in counters.not_folded] == ['counter_9.4.dead']
    left_over = {path.name for path in counters.left_over}
    assert left_over == {'counter.3.draft', 'counter.2.folded', 'counter_8.2.dead'}
    assert (counters.newest, found['histogram'].newest) == (4, 1)
    assert [dead.pid for dead in found['histogram'].not_folded] == [7]
