"""Folds copies of a metrics directory, and is killed at the first step, the second, and so on.

python -m tests.support.killed_folding FOLDER

Prints a line for each: what is counted afterwards, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from app.web.process_metrics import ProcessCollector
from tests.support.samples import samples

#: What changes a directory, or a file in it.
STEPS = ('open', 'os.rename', 'os.remove', 'os.link')
KILLED = 9


def killed_at(step: int, folder: Path) -> bool:
    """Fold until so many steps have been begun; return False when there are not so many."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED
    collector = ProcessCollector(folder)
    left = step

    def count(event: str, _: Any) -> None:
        nonlocal left
        if event in STEPS:
            left -= 1
            if not left:
                os._exit(KILLED)

    sys.addaudithook(count)
    collector.fold()
    os._exit(0)


def main(source: Path) -> None:
    """Do it until a fold comes to its end."""
    copy = source.with_name('copy')
    step = 0
    while True:
        step += 1
        shutil.copytree(source, copy)
        is_killed = killed_at(step, copy)
        found = samples(ProcessCollector(copy).collect())
        line = json.dumps({f'{name}{dict(labels)}': v for (name, labels), v in found.items()})
        sys.stdout.write(f'{line}\n')
        shutil.rmtree(copy)
        if not is_killed:
            return


if __name__ == '__main__':
    main(Path(sys.argv[1]))
