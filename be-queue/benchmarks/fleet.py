"""Simulates many workers on one rate limit: ``make bench ARGS=fleet``.

The same on every machine. docs/scaling.md has the table; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.limited_fleet import Fleet, simulated

__all__ = ['HEAD', 'SCENES', 'Scene', 'run']


@dataclass(frozen=True)
class Scene:
    """A limit and its workers, as `simulated` takes them."""

    limit: str
    size: int
    windows: int
    run_seconds: float

    def simulated(self) -> Fleet:
        """Return what the workers did."""
        return simulated(self.limit, self.size, self.windows, self.run_seconds)

    def row(self, fleet: Fleet) -> str:
        """Return the row of the table."""
        done = sum(fleet.workers)
        cells = (
            self.limit,
            f'{self.size}',
            f'{self.run_seconds:g} s',
            f'{max(fleet.windows):,}',
            f'{fleet.used:.1%}',
            f'{fleet.questions / done:.2f}',
            f'{fleet.receives / done:.2f}',
            f'{fleet.workers.count(0)}',
            f'{max(fleet.workers) / done:.0%}',
        )
        return f'| {" | ".join(cells)} |'


SCENES = (
    Scene('1000/second', 10, 30, 0.01),
    Scene('1000/second', 100, 30, 0.1),
    Scene('100/minute', 10, 5, 0.1),
    Scene('100/minute', 100, 5, 0.1),
    Scene('100/minute', 100, 5, 60.0),
)
_COLUMNS = (
    'limit',
    'workers',
    'a task takes',
    'most in a window',
    'limit used',
    'requests to Redis per task',
    'receives per task',
    'workers without a task',
    'largest share',
)
HEAD = f'| {" | ".join(_COLUMNS)} |\n|{" --- |" * len(_COLUMNS)}'


def run(out: Path) -> int:
    """Write the table to ``fleet.md``."""
    table = '\n'.join([HEAD, *(scene.row(scene.simulated()) for scene in SCENES)])
    out.mkdir(parents=True, exist_ok=True)
    (out / 'fleet.md').write_text(f'# Workers on one rate limit, simulated\n\n{table}\n')
    print(table, f'Written to {out}: fleet.md', sep='\n')  # noqa: T201
    return 0
