"""Celery's settings for this worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery

import be_queue
from be_queue import MappingError, Queues, SettingError
from be_queue.worker.settings.reading import ConfigError, warn_of_misspelt
from be_queue.worker.settings.settings import Settings
from be_queue.worker.vault import database

if TYPE_CHECKING:
    from be_queue.doctor import Finding

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
        settings['broker_transport_options'] |= {
            'create_queues': self.APP.sqs_create_queues,
            # Messages that a dead worker held are delivered again after these seconds. A living
            # worker extends them, however long its tasks take.
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
            'beat_scheduler': 'be_queue.worker.scheduler:Scheduler',
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

    def checks(self, app: Celery) -> Iterator[Finding]:
        """Check what a worker uses beside SQS and results, for `be-queue doctor`."""
        from be_queue.worker.doctor import checks

        return checks(app)

    def _result_backend(self) -> str:
        chosen = self.given('result_backend')
        if self.APP.has_database_login:
            database.listen()
            return vault_backend(self.APP, chosen)
        if self.APP.is_local and self.APP.result_db_host is None:
            return chosen or local_backend(self.APP.var_dir)
        return super()._result_backend()


def local_backend(folder: Path) -> str:
    """Return a SQLite file in ``folder``, which is made if it is missing.

    Raises `ConfigError` when the folder cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        fault = '' if os.access(folder, os.W_OK) else 'it cannot be written'
    except OSError as error:
        fault = os.strerror(error.errno or 0)
    if fault:
        raise ConfigError(
            f'cannot keep local results in {folder}: {fault}: fix its permissions, or set '
            'RESULT_DB_HOST to a PostgreSQL, or CELERY_RESULT_BACKEND'
        )
    return f'db+sqlite:///{folder / "results.sqlite"}'


def vault_backend(config: Settings, chosen: str | None) -> str:
    """Return the result database by a URL without a login, which be_queue/worker/vault adds.

    Raises `ConfigError` when the login has another source as well, such as the backend that was
    ``chosen``, or the database has no name.
    """
    role = f'VAULT_DB_ROLE={config.vault_db_role}'
    given = [n for n in ('result_db_user', 'result_db_pass') if n in config.model_fields_set]
    others = [n.upper() for n in given] + (['CELERY_RESULT_BACKEND'] if chosen else [])
    if others:
        raise ConfigError(
            f'{role}: the login of the result database comes from Vault, and '
            f'{" and ".join(others)} would give another: unset one or the other'
        )
    if config.result_db_host is None:
        raise ConfigError(f'{role}: set RESULT_DB_HOST, the database that the role is of')
    host, port, name = config.result_db_host, config.result_db_port, config.result_db_name
    return f'db+postgresql+psycopg://{host}:{port}/{name}'
