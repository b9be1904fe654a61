"""The process: settings, logging, signals."""

from __future__ import annotations

import logging
import signal
from typing import Any

from celery import Celery

from be_queue import SettingError
from be_queue.worker import logs, processes
from be_queue.worker.monitor.consumer import Monitor, connection_of
from be_queue.worker.monitor.table import TaskTable, open_engine
from be_queue.worker.role import Role
from be_queue.worker.settings import WorkerConfig

logger = logging.getLogger('be_queue.worker.monitor')


def main(worker_config: WorkerConfig) -> int:
    """Run the monitor until SIGTERM or SIGINT; return the exit status."""
    monitor = _configured(worker_config)

    def stop(*_: Any) -> None:
        monitor.should_stop = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)  # a second signal stops at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    processes.start(Role.MONITOR)
    try:
        monitor.run()
    finally:
        processes.stop()
    logger.info('stopped')
    return 0


def _configured(worker_config: WorkerConfig) -> Monitor:
    config = worker_config.APP
    logs.setup(config, 'monitor')
    # It would say at every retry that it has connected.
    logging.getLogger('kombu.mixins').setLevel(logging.WARNING)
    queue = worker_config.TOPOLOGY.platform_queue()
    if queue is None:
        raise SettingError(
            "PLATFORM_QUEUE_NAME='': the platform queue is switched off, so there is nothing to "
            'monitor: name it, or do not start the monitor'
        )
    celery_app = Celery(config.service_name)
    celery_app.config_from_object(worker_config)
    conf = celery_app.conf
    engine = open_engine(conf.result_backend, conf.database_engine_options)
    logger.info('started: queue=%s database=%s', queue.name, engine.url.render_as_string())
    return Monitor(connection_of(celery_app), queue, TaskTable(engine))
