"""Which files are in the metrics directory, and what their names say.

| name             | holds                                                                     |
|------------------|---------------------------------------------------------------------------|
| counter_17.db    | the counters of process 17, which writes it: prometheus_client's           |
| counter_17.3.dead| the same, set aside since the process has ended                            |
| counter.3.folded | all that was set aside under numbers up to 3, added up                     |
| counter.3.draft  | the same while it is written                                               |

Only the folded file of the highest number counts, and of those set aside only what has a higher
one: so a file is counted once, wherever whoever folds is killed.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ['Dead', 'Files', 'files_by_kind']

_KIND = r'(?P<kind>counter|histogram|summary|gauge_[a-z]+)'
_LIVE = re.compile(rf'{_KIND}_(?P<process>.+)\.db')
_OURS = re.compile(rf'{_KIND}(?:_(?P<process>\d+))?\.(?P<number>\d+)\.(?P<what>dead|folded|draft)')


@dataclass(frozen=True)
class Dead:
    """A file that was set aside."""

    pid: int
    number: int
    path: Path


@dataclass
class Files:
    """The files of a kind: ``counter``, ``histogram``, ``summary`` or ``gauge_MODE``.

    Arguments:
        live: under the names that their processes gave them, by process.
        folded: by number.
    """

    live: dict[str, Path] = field(default_factory=dict)
    dead: list[Dead] = field(default_factory=list)
    folded: dict[int, Path] = field(default_factory=dict)
    drafts: list[Path] = field(default_factory=list)

    @property
    def folded_up_to(self) -> int:
        """The highest number that is folded; 0 for none."""
        return max(self.folded, default=0)

    @property
    def newest(self) -> int:
        """The highest number that was given; 0 for none."""
        return max([self.folded_up_to, *(dead.number for dead in self.dead)])

    @property
    def current(self) -> list[Path]:
        """The folded file that counts, if there is one."""
        return [self.folded[self.folded_up_to]] if self.folded else []

    @property
    def not_folded(self) -> list[Dead]:
        """Those set aside that count."""
        return [dead for dead in self.dead if dead.number > self.folded_up_to]

    @property
    def left_over(self) -> list[Path]:
        """What no longer counts."""
        last = self.folded_up_to
        folded = [path for number, path in self.folded.items() if number < last]
        dead = [dead.path for dead in self.dead if dead.number <= last]
        return [*self.drafts, *folded, *dead]


def files_by_kind(folder: Path) -> dict[str, Files]:
    """Return what is there; names that are nobody's are passed over."""
    found: defaultdict[str, Files] = defaultdict(Files)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = folder / name
        if live := _LIVE.fullmatch(name):
            found[live['kind']].live[live['process']] = path
        elif ours := _OURS.fullmatch(name):
            files, number = found[ours['kind']], int(ours['number'])
            if ours['what'] == 'draft':
                files.drafts.append(path)
            elif ours['what'] == 'folded':
                files.folded[number] = path
            elif ours['process']:
                files.dead.append(Dead(int(ours['process']), number, path))
    return dict(found)
