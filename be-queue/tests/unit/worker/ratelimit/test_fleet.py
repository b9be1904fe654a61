"""Workers on one limit, in simulated time: the page about scaling has these figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fleet import HEAD, SCENES, Scene

ROOT = Path(__file__).resolve().parents[5]
PAGE = (ROOT / 'docs' / 'scaling.md').read_text()


@pytest.mark.parametrize('scene', SCENES, ids=lambda one: f'{one.size}-on-{one.limit}')
def test_workers_use_all_of_a_limit_and_no_more(scene: Scene) -> None:
    fleet = scene.simulated()
    assert max(fleet.windows) <= fleet.amount
    assert fleet.used > 0.99
    # A worker that finds the window used up asks once more in each.
    assert fleet.questions <= 2 * scene.size * scene.windows + 0.2 * sum(fleet.workers)
    assert fleet.receives <= sum(fleet.workers)
    assert f'{HEAD}\n' in PAGE
    assert f'{scene.row(fleet)}\n' in PAGE
