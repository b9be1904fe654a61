"""Folds the files of processes that have ended into one file of each kind."""

from __future__ import annotations

import fcntl
import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.web.process_metrics.files import Dead, Files, files_by_kind
from app.web.process_metrics.values import Value, combine, encode, read

__all__ = ['Folding', 'locked', 'outlives']

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other thread and process that folds, or reads what is folded, out of it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


class Folding:
    """Folds, whenever it is told to, what has to be folded; logs what fails once.

    Arguments:
        folder: the metrics directory; to be `locked` meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_failing = False
        self._unreadable: set[int] = set()

    def fold(self) -> None:
        """Fold the files of processes that have ended; what cannot be folded still counts."""
        try:
            for kind, files in files_by_kind(self._folder).items():
                self._fold(kind, files)
        except OSError as error:
            if not self._is_failing:
                logger.warning(
                    'the metrics of ended processes cannot be folded, so that scrapes take ever '
                    'longer: %s: check room and permissions in PROMETHEUS_MULTIPROC_DIR',
                    error,
                )
            self._is_failing = True
        else:
            if self._is_failing:
                logger.warning('the metrics of ended processes are folded again')
            self._is_failing = False

    def _fold(self, kind: str, files: Files) -> None:
        _remove(files.left_over)
        number = files.newest + 1
        for process, path in files.live.items():
            if _has_ended(process):
                aside = path.with_name(f'{kind}_{process}.{number}.dead')
                path.rename(aside)
                files.dead.append(Dead(int(process), number, aside))
        # Asked again: from here on no new process with the number can have opened the file.
        dead = [one for one in files.not_folded if not _is_taken_back(kind, one)]
        if dead and outlives(kind):
            self._write(kind, number, files.current, dead)
        else:
            _remove([one.path for one in dead])

    def _write(self, kind: str, number: int, current: list[Path], dead: list[Dead]) -> None:
        values: defaultdict[str, list[Value]] = defaultdict(list)
        done = []
        for path in current:
            _add(values, path)
        for one in dead:
            try:
                _add(values, one.path)
                done.append(one.path)
            except OSError as error:
                # It may be readable later: under a higher number it goes on to count.
                one.path.rename(one.path.with_name(f'{kind}_{one.pid}.{number + 1}.dead'))
                if one.pid not in self._unreadable:
                    self._unreadable.add(one.pid)
                    logger.warning('metrics of an ended process cannot be read: %s', error)
        draft = self._folder / f'{kind}.{number}.draft'
        draft.write_bytes(encode({key: combine(kind, found) for key, found in values.items()}))
        draft.rename(draft.with_suffix('.folded'))
        _remove([*current, *done])


def outlives(kind: str) -> bool:
    """Return whether the values of a kind of files count when their process has ended.

    Those of gauges with a series for each process do not: there would be ever more series.
    """
    mode = kind.partition('_')[2]
    return not mode.startswith('live') and mode != 'all'


def _has_ended(process: str) -> bool:
    """Return whether there is no such process; another that has its number now stands for it."""
    if not process.isdecimal():  # somebody's own way to tell processes apart
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _is_taken_back(kind: str, dead: Dead) -> bool:
    """Give a file back if a new process has got the number of the one that ended."""
    if _has_ended(str(dead.pid)):
        return False
    path = dead.path.with_name(f'{kind}_{dead.pid}.db')
    try:
        os.link(dead.path, path)
    except FileExistsError:
        if not path.samefile(dead.path):
            return False  # it has made a file of its own, and does not use this one
    dead.path.unlink()
    return True


def _add(values: defaultdict[str, list[Value]], path: Path) -> None:
    found, fault = read(path)
    if fault is not None:
        logger.warning(
            'an ended process has left metrics that cannot all be read: file=%s read=%d error=%s',
            path.name,
            len(found),
            fault,
        )
    for key, value in found.items():
        values[key].append(value)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
