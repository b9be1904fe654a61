"""The history of tasks, in the result database.

`tables` is the schema, `queries` what the dashboard and the command read.
"""

from be_queue.worker.history.database import engine_of, save, transaction
from be_queue.worker.history.migrate import fault, migrate
from be_queue.worker.history.queries import Attempt, Filter, History, Minute, Page, Task, Worker

__all__ = [
    'Attempt',
    'Filter',
    'History',
    'Minute',
    'Page',
    'Task',
    'Worker',
    'engine_of',
    'fault',
    'migrate',
    'save',
    'transaction',
]
