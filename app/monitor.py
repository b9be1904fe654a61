"""Writes the copies of task messages to the table of tasks: ``python -m app.monitor``."""

import sys

from be_queue.worker import in_one_line, monitor

if __name__ == '__main__':
    with in_one_line():
        from app.config.celery_settings import worker_config

        sys.exit(monitor.main(worker_config))
