"""The app's settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from be_queue import extras
from be_queue.naming import LOCAL_ENV
from be_queue.topology import PLATFORM_QUEUE
from be_queue.worker.settings import setting_types as types
from be_queue.worker.vault.settings import VaultSettings
from be_queue.worker.vault.source import VaultSource

__all__ = ['Settings']

#: Settings of which an empty variable is a value.
MEANT_EMPTY = ('sqs_endpoint_url', 'platform_queue_name')


class Settings(VaultSettings):
    """A worker's settings, each from the environment variable of the same name in upper case.

    Subclass it and add fields of your own. The text below a field is its row in docs/settings.md
    (``make docs``). The file ``.env`` in `root` stands in for variables that
    are not set. An empty variable counts as unset, except where empty has a meaning of its own.
    `current` reads them.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra='ignore', hide_input_in_errors=True, use_attribute_docstrings=True
    )

    #: The service's folder: relative paths, ``.env`` and local state are looked up here.
    root: ClassVar[Path] = Path.cwd()

    # The service

    env: types.EnvName = LOCAL_ENV
    """`local`, `dev`, `stage`, `prod`, ...: part of every queue name."""
    username: str | None = None
    """Local only: first part of queue names; by default the login name."""
    service_name: Annotated[str, Field(min_length=1)] = 'worker'
    """The service's name in metrics, logs, traces and error reports."""
    release: str = 'unknown'
    """Version or commit of what runs, in metrics, logs, traces and error reports."""
    server_host: str = ''
    """Where the web server listens; by default `0.0.0.0`, locally `127.0.0.1`."""
    server_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The web server's port; 0 takes any free one."""
    liveness_file: Path | None = None
    """A file that the monitor and the scheduler touch while they work, for a liveness probe."""

    # Queues

    sqs_endpoint_url: Annotated[types.SqsEndpoint | None, Field(repr=False)] = None
    """A URL, `embedded` (or `embedded:PORT`) for a local server in memory, or empty for AWS; by
    default `embedded` with `ENV=local`, else AWS."""
    aws_region: str = 'us-west-2'
    """The region of the queues; credentials come from boto3's usual chain."""
    platform_queue_name: str = PLATFORM_QUEUE
    """Gets a copy of every message; empty switches it off."""
    consume_queues: types.Names = Field(default=None, validate_default=False)
    """Short names of the queues that this worker consumes, such as
    `payments-charge,retry-demo`, so that one image makes one deployment per queue; by default
    all of the mapping. Celery's own queue `celery` is always consumed."""
    sqs_create_queues: bool = True
    """Create missing queues and fix redrive policies; `false` verifies them and stops the start
    with what differs."""
    allow_unmapped_tasks: bool = False
    """`true` sends tasks that the mapping does not have to the queue of Celery's own tasks;
    else sending them is an error."""
    scheduler: bool | None = None
    """Whether scheduled tasks are sent from beside this worker; every replica may do it. By default
    `true` with `ENV=local`, else `false`."""
    chord_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 86_400
    """Seconds after which a chord fails whose header has not finished, counted by Celery's
    polls of once a second."""

    # Results: PostgreSQL, in whose place CELERY_RESULT_BACKEND may name any backend of Celery's

    result_db_user: str = 'cadasta'
    """User of the PostgreSQL database for results."""
    result_db_pass: SecretStr = SecretStr('cadasta')
    """That user's password."""
    result_db_host: str | None = None
    """The database's host; locally, results are in `var/results.sqlite` until this is set;
    elsewhere it is `localhost`."""
    result_db_port: types.Port = 5432
    """The database's port."""
    result_db_name: str = 'cadasta'
    """The database's name."""
    result_backend_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds after which a database or Redis that does not answer is tried again; producers
    have their [own](../be-queue/README.md#settings) default."""
    result_backend_shutdown_timeout: Annotated[float, Field(ge=0, le=43_200)] = 5.0
    """Seconds that tasks go on waiting for an unavailable result backend once the worker was
    told to stop; then their messages go back to the queue."""
    idempotency_guard: bool = False
    """`true` skips messages whose task is running already or has run: see
    [Duplicates](delivery.md#duplicates)."""

    # Rate limits: be_queue/worker/ratelimit

    ratelimit_host: types.RatelimitHost | None = None
    """`host:port` or URL of the rate-limit service; unset, there is none."""
    ratelimit_domain: str | None = None
    """This worker's domain at that service."""
    ratelimit_redis_url: Annotated[str | None, Field(repr=False)] = None
    """`redis://`, `rediss://` or `redis+unix://`: where limits written in the mapping are kept
    for all workers together; unset, each worker limits itself alone."""
    ratelimit_timeout: Annotated[float, Field(ge=0.01, le=10)] = 0.1
    """Seconds for a request to the service or to Redis, at most 10."""
    ratelimit_failure_policy: Literal['open', 'closed'] = 'open'
    """While neither answers, queues have no limit (`open`) or are not polled (`closed`)."""

    # Metrics: be_queue/worker/metrics, be_queue/worker/web

    metrics_prefix: types.MetricsPrefix | None = None
    """The `{prefix}` of every metric; by default `SERVICE_NAME` with `_`."""
    prometheus_multiproc_dir: Path = Path('prometheus_multiproc_dir')
    """Where the processes keep their metrics, emptied at each start; the lower-case name works
    too."""
    queue_depth_interval: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds between two requests to SQS for the number of messages in each queue; `0` does
    without these metrics."""

    # The dashboard: be_queue/worker/web

    dashboard_auth: types.Logins = Field(default_factory=dict, validate_default=False)
    """Who may read the dashboard: `USER:PASSWORD`, several separated by commas or blanks. Without
    it, the pages are off unless `ENV=local`."""
    dashboard_open: bool = False
    """`true` shows the pages without a login, for a proxy in front that asks for one."""
    dashboard_arguments: bool = True
    """`false` hides the arguments, results and tracebacks of tasks and the bodies of dead
    letters."""
    trace_url: Annotated[str | None, Field(pattern=r'^https?://.*\{task_id\}')] = None
    """Where a task's trace is shown, for a link: a URL with `{task_id}`, the value of the tag
    `celery.task_id` of its spans."""
    admin_token: types.AdminToken | None = None
    """The token for those who may redrive, delete, purge, retry and revoke by the
    dashboard, at least 16 characters; unset, these actions are off."""

    # Logs: be_queue/worker/logs

    log_level: types.LogLevel = 'INFO'
    """`DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`."""
    log_levels: types.LogLevels = Field(default_factory=dict, validate_default=False)
    """Levels of single loggers and those below them, such as
    `sqlalchemy.engine=INFO,kombu=DEBUG`."""
    log_format: types.LogFormat = 'auto'
    """`json`, `console`, or `auto`: `console` on a terminal or when `ENV` is `local`, else
    `json`."""

    # Errors: be_queue/worker/sentry

    sentry_dsn: types.SentryDsn = SecretStr('')
    """Where errors are reported to; unset, they are not."""
    sentry_send_arguments: bool = False
    """Whether reports hold the arguments of tasks and the local variables of the code that
    failed."""
    sentry_sample_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The part of the errors that is reported, above 0."""

    # Traces: be_queue/worker/tracing; off until an agent or an endpoint is set

    tracing_exporter: Literal['jaeger', 'otlp'] = 'jaeger'
    """`otlp` for new services, or `jaeger`, which is off without an agent."""
    jaeger_agent_host: types.Host | None = None
    """The Jaeger agent that takes spans over UDP, with `jaeger`."""
    jaeger_agent_port: types.Port = 6831
    """The agent's port."""
    otel_exporter_otlp_endpoint: types.OtlpEndpoint | None = None
    """Base URL that takes OTLP over HTTP, without `/v1/traces`, such as
    `http://localhost:4318`; needed with `otlp`."""
    jaeger_sampler_type: Literal['const', 'probabilistic', 'ratelimiting'] = 'const'
    """Which traces that begin here are sampled, with either exporter: `const`, `probabilistic`
    or `ratelimiting`."""
    jaeger_sampler_param: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """0 or 1 for `const`, a share of 1 for `probabilistic`, traces per second and process for
    `ratelimiting`."""

    # Event logs: be_queue/worker/fluent

    fluent_host: types.HostOrIPv4 | None = None
    """A server of Fluentd's forward protocol, which passes event logs on to Treasure Data;
    unset, there are none."""
    fluent_port: types.Port = 24224
    """That server's port."""
    td_database: types.TdName | None = None
    """The Treasure Data database of event logs; needed with `FLUENT_HOST`."""
    fluent_buffer: Annotated[int, Field(ge=4096)] = 4 * 1024 * 1024
    """Bytes, in each process, for event logs that wait for the server, of which each counts
    1,024; beyond it, the oldest are dropped."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        found = env_settings().items()
        given = {name: v for name, v in found if v != '' or name in MEANT_EMPTY}
        environment = InitSettingsSource(settings_cls, given)
        vault = VaultSource(settings_cls, {**given, **init_settings()})
        return init_settings, environment, vault

    @field_validator('prometheus_multiproc_dir')
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return cls.root / path

    @model_validator(mode='after')
    def _validate(self) -> Settings:
        if faults := list(self._faults()):
            raise ValueError('\n'.join(faults))
        return self

    def _faults(self) -> Iterator[str]:
        """Return a line for each setting that does not go with another."""
        endpoint, database = self.sqs_endpoint_url, self.td_database
        if not self.is_local and types.embedded_port(endpoint or ''):
            yield (
                f'SQS_ENDPOINT_URL={endpoint!r}: must be a URL, or empty for AWS, while '
                f'ENV={self.env}: the embedded server begins empty, keeps messages in memory and '
                'is for ENV=local alone'
            )
        if self.fluent_host and not database:
            yield f'TD_DATABASE=None: must be set, since FLUENT_HOST is: {types.TD_NAME_RULE}'
        if self.tracing_exporter == 'otlp' and not self.otel_exporter_otlp_endpoint:
            yield (
                'OTEL_EXPORTER_OTLP_ENDPOINT=None: must be set while TRACING_EXPORTER=otlp, for '
                'example to http://localhost:4318'
            )
        kind, param = self.jaeger_sampler_type, self.jaeger_sampler_param
        if kind == 'const' and param not in (0, 1):
            yield (
                f"JAEGER_SAMPLER_PARAM='{param:g}': must be 0 or 1 while "
                'JAEGER_SAMPLER_TYPE=const; a share is probabilistic'
            )
        if kind == 'probabilistic' and param > 1:
            yield (
                f"JAEGER_SAMPLER_PARAM='{param:g}': must be from 0 to 1 while "
                'JAEGER_SAMPLER_TYPE=probabilistic'
            )
        exporter = self.is_traced and self.tracing_exporter
        for extra, setting, is_on in (
            ('sentry', 'SENTRY_DSN', self.sentry_dsn.get_secret_value()),
            ('fluent', 'FLUENT_HOST', self.fluent_host),
            ('jaeger', 'JAEGER_AGENT_HOST', exporter == 'jaeger'),
            ('otlp', 'TRACING_EXPORTER=otlp', exporter == 'otlp'),
        ):
            if is_on and (fault := extras.fault(extra, f'{setting} is set')):
                yield fault

    def sentry_before_send(self, event: Any, hint: Any) -> Any:
        """Return a report to Sentry, changed or not; None drops it. Its secrets are masked."""
        return event

    @property
    def is_local(self) -> bool:
        """Whether this is a developer's machine."""
        return self.env == LOCAL_ENV

    @property
    def runs_scheduler(self) -> bool:
        """Whether the scheduler runs beside this worker, if there is a schedule."""
        return self.is_local if self.scheduler is None else self.scheduler

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
        return types.embedded_port(chosen or '')

    @property
    def sqs_url(self) -> str:
        """The SQS server's URL; '' for Amazon's own."""
        port = self.embedded_sqs_port
        # The embedded server wants a login and takes any.
        return f'http://test:test@127.0.0.1:{port}' if port else self.sqs_endpoint_url or ''

    @property
    def var_dir(self) -> Path:
        """Where local state is kept."""
        return self.root / 'var'

    @property
    def heartbeat_path(self) -> Path:
        """The file through which the worker tells the web server how it is."""
        return self.prometheus_multiproc_dir / 'worker.json'

    @property
    def ratelimit_url(self) -> str | None:
        """Where the rate-limit service takes requests; None when there is none."""
        url = self.ratelimit_host
        if url and '://' not in url:
            url = f'http://{url}' if re.search(r':\d+(/|$)', url) else f'http://{url}:8080'
        return f'{url.rstrip("/").removesuffix("/json")}/json' if url else None

    @property
    def is_traced(self) -> bool:
        """Whether spans are made."""
        return self.tracing_exporter == 'otlp' or bool(self.jaeger_agent_host)
