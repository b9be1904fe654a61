"""Celery's settings for this worker."""

from __future__ import annotations

from typing import Any

import be_queue
from be_queue import MappingError, Queues, SettingError
from be_queue.results import engine_options
from be_queue.worker.settings.faults import ConfigError
from be_queue.worker.settings.result_backend import local_backend, vault_backend
from be_queue.worker.settings.settings import Settings, warn_of_misspelt
from be_queue.worker.vault import database

__all__ = ['SOFT_PART', 'TASK_TIME_LIMIT', 'WorkerConfig']

#: Seconds after which a task's child is killed.
TASK_TIME_LIMIT = 600
#: The part of it after which SoftTimeLimitExceeded is raised in the task, which may then clean up.
SOFT_PART = 0.9


class WorkerConfig(be_queue.Config):
    """Celery's settings for this worker: those of `be_queue.Config` with defaults of our own.

    See the Celery documentation on configuration, and kombu's on SQS for the transport options.

    Arguments:
        config: the worker's settings.
        queues: the mapping; built here for ``config.env``.
        settings: any Celery setting; wins over ``CELERY_<SETTING>`` and over the defaults.
    """

    def __init__(self, config: Settings, queues: Queues, **settings: Any) -> None:
        queues.build_celery(
            config.env,
            username=config.username,
            platform_queue_name=config.platform_queue_name,
        )
        try:
            queues.consume_only(config.consume_queues)
        except MappingError as error:
            given = ','.join(config.consume_queues or ())
            raise ConfigError(f'CONSUME_QUEUES={given!r}: {error}') from None
        self.APP = config
        warn_of_misspelt(type(config))
        super().__init__(
            queues,
            PLATFORM_QUEUE_NAME=config.platform_queue_name,
            RESULT_DB_USER=config.result_db_user,
            RESULT_DB_PASS=config.result_db_pass.get_secret_value(),
            RESULT_DB_HOST=config.result_db_host or 'localhost',
            RESULT_DB_PORT=config.result_db_port,
            RESULT_DB_NAME=config.result_db_name,
            RESULT_BACKEND_TIMEOUT=config.result_backend_timeout,
            AWS_REGION=config.aws_region,
            SQS_ENDPOINT_URL=config.sqs_url,
            ALLOW_UNMAPPED_TASKS=config.allow_unmapped_tasks,
            CHORD_TIMEOUT=config.chord_timeout,
            **settings,
        )
        soft, hard = vars(self)['task_soft_time_limit'], vars(self)['task_time_limit']
        if soft and hard and soft >= hard:
            raise SettingError(
                f'CELERY_TASK_SOFT_TIME_LIMIT={soft}: must be below CELERY_TASK_TIME_LIMIT, which '
                f'is {hard}; both count from the start of a task: set both'
            )

    def default_settings(self) -> dict[str, Any]:
        settings = super().default_settings()
        time_limit = self.given('task_time_limit') or TASK_TIME_LIMIT
        if self.APP.vault_addr and self.APP.vault_db_role:
            database.listen()
            role, chosen = self.APP.vault_db_role, self.given('result_backend')
            settings['result_backend'] = vault_backend(self.APP, role, chosen)
            settings['database_engine_options'] = self._engine_options(settings['result_backend'])
        elif self.APP.is_local and self.APP.result_db_host is None:
            chosen = self.given('result_backend')
            settings['result_backend'] = chosen or local_backend(self.APP.var_dir)
            settings['database_engine_options'] = self._engine_options(settings['result_backend'])
        settings['broker_transport_options'] |= {
            'create_queues': self.APP.sqs_create_queues,
            # What a worker that died has held is delivered again after these seconds. A worker that
            # lives extends them, however long its tasks take.
            'visibility_timeout': 60,
            # A worker that is told to stop lets its last poll end, since SQS may still answer it.
            # Idle, a queue costs twelve requests a minute, and locally Ctrl-C is quick.
            'wait_time_seconds': 1 if self.APP.is_local else 5,
            # The pause after an empty poll, in seconds.
            'polling_interval': 0.05,
        }
        return settings | {
            # be_queue's, with rate limits.
            'broker_transport': 'be_queue.worker.transport:Transport',
            'broker_connection_retry_on_startup': True,
            'broker_connection_max_retries': None,
            # Neither has a meaning on SQS, which has no fanout.
            'worker_enable_remote_control': False,
            'worker_send_task_events': False,
            # Bounds what a leak can grow to, beside the limit on memory. Not less: Celery stops the
            # other children while it replaces one.
            'worker_max_tasks_per_child': 10_000,
            # In KiB. Four children fit a 2 GiB container with room for the other processes.
            'worker_max_memory_per_child': 400_000,
            # Seconds. Celery kills a child that takes 4 to start, and its successor, and so on: a
            # busy machine or a slow server at the start of a process is enough. See
            # https://github.com/celery/celery/issues/4323.
            'worker_proc_alive_timeout': 60.0,
            'task_time_limit': time_limit,
            'task_soft_time_limit': time_limit * SOFT_PART,
            # Seconds: a week to look at a result. result_expiry.py has the rows deleted.
            'result_expires': 7 * 24 * 3600,
        }

    @property
    def stores_results(self) -> bool:
        """Whether the worker needs its result backend."""
        if self.APP.idempotency_guard:
            return True
        if str(vars(self)['result_backend']).startswith('disabled'):
            return False
        return not self.given('task_ignore_result') or bool(
            self.given('task_store_errors_even_if_ignored')
        )

    def _engine_options(self, result_backend: str) -> dict[str, Any]:
        return engine_options(result_backend, self.RESULT_BACKEND_TIMEOUT)
