"""Blocks the worker's event loop after each receipt, as a slow look-up of credentials does."""

from __future__ import annotations

import time
from typing import Any

from celery import signals
from kombu.asynchronous import get_event_loop

__all__ = ['IMPORTS']

#: For the variables of `tests.support.worker.Site.worker`.
IMPORTS = {'CELERY_IMPORTS': (__name__,)}


@signals.task_received.connect
def _block(**_: Any) -> None:
    # For longer than a message waits for a child before it is handed back.
    get_event_loop().call_soon(time.sleep, 3)
