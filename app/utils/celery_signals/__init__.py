"""Where Celery's signals meet metrics and the life of the pool's processes.

Importing the package connects the handlers; Celery keeps weak references, so they live at module
level. See https://docs.celeryq.dev/en/stable/userguide/signals.html.
"""

from app.utils.celery_signals import (
    consumer,
    lost_copies,
    outcomes,
    pool,
    pool_process,
    processes,
)

__all__ = ['consumer', 'lost_copies', 'outcomes', 'pool', 'pool_process', 'processes']
