"""Everything that can be set: `Config` for the app, `WorkerConfig` for Celery."""

from __future__ import annotations

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values, load_dotenv
from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

import be_queue
from app.config.configuration import addresses
from app.config.configuration.faults import ConfigError
from app.config.configuration.result_backend import local_backend, vault_backend
from app.config.configuration.root import ROOT
from app.config.configuration.sections import (
    FluentSettings,
    LogSettings,
    MetricsSettings,
    RatelimitSettings,
    ResultDbSettings,
    SentrySettings,
    TracingSettings,
)
from app.config.queues import QUEUES
from app.config.vault import VaultSettings, VaultSource, names
from be_queue import MappingError, Queues, SettingError
from be_queue.environment import closest
from be_queue.naming import LOCAL_ENV
from be_queue.results import engine_options
from be_queue.topology import PLATFORM_QUEUE

__all__ = ['ROOT', 'Config', 'WorkerConfig', 'load_config']

logger = logging.getLogger(__name__)

#: Settings of which an empty variable is a value.
MEANT_EMPTY = ('sqs_endpoint_url', 'platform_queue_name')

#: Seconds after which a task's child is killed.
TASK_TIME_LIMIT = 600
#: The part of it after which SoftTimeLimitExceeded is raised in the task, which may then clean up.
SOFT_PART = 0.9


class Config(
    LogSettings,
    MetricsSettings,
    ResultDbSettings,
    RatelimitSettings,
    SentrySettings,
    TracingSettings,
    FluentSettings,
    VaultSettings,
):
    """The app's settings, each from the environment variable of the same name in upper case.

    The file ``.env`` beside the app stands in for variables that are not set. An empty variable
    counts as unset, except where empty has a meaning of its own. Raises `ConfigError`, through
    `load_config`, with one line per fault.
    """

    model_config = SettingsConfigDict(frozen=True, extra='ignore', hide_input_in_errors=True)

    #: Part of every queue name: local, dev, stage, prod, ...
    env: str = LOCAL_ENV
    #: First part of queue names when ``env`` is local; by default the login name.
    username: str | None = None
    #: In logs, traces and error reports.
    service_name: Annotated[str, Field(min_length=1)] = 'python-backend-worker-template'
    #: Version or commit of what runs, in metrics, logs, traces and error reports.
    release: str = 'unknown'

    #: Where the web server listens; locally on loopback only.
    server_host: str = ''
    #: 0 takes any free port.
    server_port: Annotated[int, Field(ge=0, le=65535)] = 8080

    #: A URL, ``embedded`` (or ``embedded:PORT``) for a server of our own, or empty for AWS.
    sqs_endpoint_url: Annotated[str | None, Field(repr=False)] = None
    aws_region: str = 'us-west-2'
    #: Gets a copy of every task message; empty switches it off.
    platform_queue_name: str = PLATFORM_QUEUE
    #: Short names of the queues that this worker consumes, separated by commas; by default those
    #: of the mapping. Celery's own queue is always among them.
    consume_queues: str | None = None
    #: Make queues that are missing, and mend redrive policies; else the start verifies them.
    sqs_create_queues: bool = True
    #: Send tasks that the mapping does not have, to the queue of Celery's own tasks.
    allow_unmapped_tasks: bool = False
    #: Seconds after which a chord fails whose header has not finished.
    chord_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 86_400

    @model_validator(mode='before')
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _without_empty(values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = _without_empty({**env_settings(), **init_settings()})
        # Before the environment, whose empty variables would hide what is in Vault. It leaves out
        # what the environment gives.
        return init_settings, VaultSource(settings_cls, given), env_settings

    @field_validator('env')
    @classmethod
    def _legal_env(cls, env: str) -> str:
        if not re.fullmatch(r'[A-Za-z0-9_-]+', env):
            raise ValueError("letters, digits, '-' and '_', for example prod")
        return env

    @field_validator('sqs_endpoint_url')
    @classmethod
    def _legal_endpoint(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text:
            addresses.check_sqs_endpoint(text)
            env = info.data.get('env', LOCAL_ENV)
            if env != LOCAL_ENV and addresses.embedded_port(text):
                raise ValueError(
                    f'a URL, or empty for AWS, while ENV={env}: the embedded server begins empty, '
                    'keeps messages in memory and is for ENV=local alone'
                )
        return text

    @property
    def is_local(self) -> bool:
        """Whether this is a developer's machine."""
        return self.env == LOCAL_ENV

    @property
    def prefix(self) -> str:
        """The first part of every metric's name."""
        return self.metrics_prefix or re.sub(r'[^a-zA-Z0-9_]', '_', self.service_name)

    @property
    def host(self) -> str:
        """The address that the web server listens on."""
        return self.server_host or ('127.0.0.1' if self.is_local else '0.0.0.0')

    @property
    def embedded_sqs_port(self) -> int | None:
        """The port of the SQS server that we start ourselves; None when it is not ours."""
        chosen = self.sqs_endpoint_url
        if chosen is None and self.is_local:
            chosen = 'embedded'
        return addresses.embedded_port(chosen or '')

    @property
    def sqs_url(self) -> str:
        """The SQS server's URL; '' for Amazon's own."""
        port = self.embedded_sqs_port
        # The embedded server wants a login and takes any.
        return f'http://test:test@127.0.0.1:{port}' if port else self.sqs_endpoint_url or ''

    @property
    def consumed_names(self) -> list[str] | None:
        """The names in ``consume_queues``; None when it is not set."""
        if self.consume_queues is None:
            return None
        return [name for name in map(str.strip, self.consume_queues.split(',')) if name]

    @property
    def var_dir(self) -> Path:
        """Where local state is kept."""
        return ROOT / 'var'

    @property
    def heartbeat_path(self) -> Path:
        """The file through which the worker tells the web server how it is."""
        return self.prometheus_multiproc_dir / 'worker.json'


class WorkerConfig(be_queue.Config):
    """Celery's settings for this worker: those of `be_queue.Config` with defaults of our own.

    See the Celery documentation on configuration, and kombu's on SQS for the transport options.

    Arguments:
        config: the app's settings.
        queues: the mapping; built here for ``config.env``.
        settings: any Celery setting; wins over ``CELERY_<SETTING>`` and over the defaults.
    """

    def __init__(self, config: Config, queues: Queues = QUEUES, **settings: Any) -> None:
        queues.build_celery(
            config.env,
            username=config.username,
            platform_queue_name=config.platform_queue_name,
        )
        try:
            queues.consume_only(config.consumed_names)
        except MappingError as error:
            raise ConfigError(f'CONSUME_QUEUES={config.consume_queues!r}: {error}') from None
        self.APP = config
        _warn_of_misspelt()
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
            'broker_transport': 'app.utils.transport:Transport',
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


@cache
def load_config() -> Config:
    """Return the settings of this process, read once.

    Raises `ConfigError` with one line per fault.
    """
    # Into the environment, so that Celery's, boto3's and Prometheus' own variables count too.
    load_dotenv(ROOT / '.env', override=False)
    try:
        return Config()
    except ValidationError as error:
        raise ConfigError.from_validation(error, _shown_fields()) from None
    except SettingsError as error:  # error parsing value for field "..."
        name = str(error).split('"')[1].upper()
        raise ConfigError(f'{name} must be JSON, since it is a list or a dict') from None


def _warn_of_misspelt() -> None:
    known = {name.upper() for name in Config.model_fields}
    ours = dotenv_values(ROOT / '.env')
    for variable in {**os.environ, **ours}:
        # be_queue looks at CELERY_* itself. What is in the environment may be another program's.
        if variable.upper() not in known and not variable.startswith('CELERY_'):
            hint = closest(variable.upper(), known, 0.85 if variable in ours else 0.9)
            if hint:
                logger.warning('%s is no setting of this worker: did you mean %s?', variable, hint)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in values.items() if v != '' or name in MEANT_EMPTY}


def _shown_fields() -> set[str]:
    """Return the settings of which an error may show the value."""
    shown = {name for name, f in Config.model_fields.items() if 'Secret' not in str(f.annotation)}
    # Upper case or lower, as for any setting.
    mappings = [text for name, text in os.environ.items() if name.upper() == 'VAULT_SECRETS']
    return shown.difference(*map(names, mappings))
