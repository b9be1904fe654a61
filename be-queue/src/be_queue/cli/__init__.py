"""The command ``be-queue``: looks at queues, dead letters and tasks, and acts on them.

Exit codes: 0 done, 1 it could not be done or nothing was found, 2 wrong usage.
"""

from be_queue.cli import checks, queues, tasks  # noqa: F401  (they add their commands)
from be_queue.cli.group import main

__all__ = ['main']
