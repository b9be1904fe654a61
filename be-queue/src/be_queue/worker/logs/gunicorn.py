"""Replaces Gunicorn's own logging, as ``--logger-class be_queue.worker.logs.gunicorn.Logger``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]

from be_queue.worker.logs.configure import setup
from be_queue.worker.settings import current
from be_queue.worker.start_error import in_one_line

__all__ = ['Logger']


class Logger(glogging.Logger):
    """Gunicorn's, whose lines go where all others go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers = []
            log.propagate = True
        with in_one_line():
            # The service's package knows the class of its settings.
            import_module(cfg.default_proc_name.partition('.')[0])
            setup(current(), 'web')
