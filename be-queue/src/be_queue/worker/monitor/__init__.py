"""Keeps the table of tasks, beside Celery's own table of results: one row per task.

Every producer sends a copy of each task message to the platform queue; this process consumes them.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

from celery import Celery

from be_queue import SettingError
from be_queue.worker import logs, processes
from be_queue.worker.monitor.consumer import Monitor
from be_queue.worker.monitor.table import TaskTable, open_engine
from be_queue.worker.role import Role
from be_queue.worker.settings import WorkerConfig

__all__ = ['main']

logger = logging.getLogger(__name__)


def main(worker_config: WorkerConfig) -> int:
    """Run the monitor until SIGTERM or SIGINT; return the exit status."""
    config = worker_config.APP
    logs.setup(config, 'monitor')
    queue = worker_config.TOPOLOGY.platform_queue()
    if queue is None:
        raise SettingError(
            "PLATFORM_QUEUE_NAME='': the platform queue is switched off, so there is nothing to "
            'monitor: name it, or do not start the monitor'
        )
    app = Celery(config.service_name)
    app.config_from_object(worker_config)
    engine = open_engine(app.conf.result_backend, app.conf.database_engine_options)
    monitor = Monitor(app, queue, TaskTable(engine))

    def stop(*_: Any) -> None:
        monitor.should_stop = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second signal stops at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    processes.start(Role.MONITOR)
    logger.info('started: queue=%s database=%s', queue.name, engine.url.render_as_string())
    try:
        monitor.run()
    finally:
        processes.stop()
    logger.info('stopped')
    return 0
