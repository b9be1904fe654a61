"""Replaces Celery's own logging: its lines go where all others go, once each."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from billiard import util
from celery import signals
from celery.apps import worker
from celery.exceptions import SecurityWarning

from be_queue.worker.logs.configure import setup
from be_queue.worker.settings import Settings

__all__ = ['install']

logger = logging.getLogger('celery.apps.worker')


def install(config: Settings) -> None:
    """Have Celery's worker leave logging to us, when it starts."""

    # Celery's first warnings come before it sets logging up.
    @signals.celeryd_init.connect(weak=False)
    def worker_starts(options: Mapping[str, Any], **_: Any) -> None:
        setup(config, 'worker', options.get('loglevel'))
        # Some of Celery's lines go past the log: that it stops, and what its threads do (SIGUSR1).
        worker.safe_say = lambda message, *_: logger.info('%s', message)
        if config.is_local:
            # Five lines at each start of a worker that runs as root, as in a container.
            warnings.simplefilter('ignore', SecurityWarning)

    @signals.setup_logging.connect(weak=False)
    def set_up(loglevel: int, logfile: str | None, **_: Any) -> None:
        setup(config, 'scheduler' if 'beat' in sys.argv else 'worker', loglevel, logfile)
        # The pool's logger does not propagate by itself.
        util.get_logger().handlers = []
        util.get_logger().propagate = True
