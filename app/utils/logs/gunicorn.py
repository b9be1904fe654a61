"""Replaces Gunicorn's own logging, as ``--logger-class app.utils.logs.gunicorn.Logger``."""

from __future__ import annotations

from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]

from app.start_error import in_one_line
from app.utils.logs.configure import setup

__all__ = ['Logger']


class Logger(glogging.Logger):
    """Gunicorn's, whose lines go where all others go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers = []
            log.propagate = True
        with in_one_line():
            from app.config.configuration import load_config

            setup(load_config(), 'web')
