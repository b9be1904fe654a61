"""How a probe sees that the monitor or the scheduler, which have no web server, is not stuck."""

from __future__ import annotations

from be_queue import SettingError
from be_queue.worker.settings import current

__all__ = ['touch']


def touch() -> None:
    """Touch `LIVENESS_FILE`, if it is set. Raises `SettingError` when it cannot be written."""
    path = current().liveness_file
    if path:
        try:
            path.touch()
        except OSError as error:
            raise SettingError(f'LIVENESS_FILE={path} cannot be written: {error}') from None
