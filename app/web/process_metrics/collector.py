"""The metrics of all processes, as a collector."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from app.web.process_metrics.files import files_by_kind
from app.web.process_metrics.folding import Folding, locked, outlives
from app.web.process_metrics.merging import Read, merged
from app.web.process_metrics.values import read

__all__ = ['FOLD_INTERVAL', 'ProcessCollector']

#: Seconds between two looks for ended processes when nobody scrapes.
FOLD_INTERVAL = 10.0


class ProcessCollector(Collector):
    """Adds up what the processes have counted, those that have ended included.

    Arguments:
        folder: the metrics directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folding = Folding(folder)

    def fold(self) -> None:
        """Fold what ended processes have left."""
        with locked(self._folder):
            self._folding.fold()

    def collect(self) -> list[Metric]:
        """Return the metrics; the more processes have just ended, the longer it takes."""
        with locked(self._folder):
            self._folding.fold()
            files = self._read()
        return merged(files)

    def _read(self) -> list[Read]:
        found: list[Read] = []
        for kind, files in files_by_kind(self._folder).items():
            waiting = [dead.path for dead in files.not_folded] if outlives(kind) else []
            folded = [('', path) for path in (*files.current, *waiting)]
            for process, path in (*folded, *files.live.items()):
                # What cannot be read of an ended process has been logged; a living one may be
                # making its file just now.
                with contextlib.suppress(OSError):
                    found.append((kind, process, read(path)[0]))
        return found
