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

    Subclass it and add fields of your own. The file ``.env`` in `root` stands in for variables that
    are not set. An empty variable counts as unset, except where empty has a meaning of its own.
    `current` reads them.
    """

    model_config = SettingsConfigDict(frozen=True, extra='ignore', hide_input_in_errors=True)

    #: The service's folder: relative paths, ``.env`` and local state are looked up here.
    root: ClassVar[Path] = Path.cwd()
    # The service

    #: Part of every queue name: local, dev, stage, prod, ...
    env: types.EnvName = LOCAL_ENV
    #: First part of queue names when ``env`` is local; by default the login name.
    username: str | None = None
    #: In logs, traces and error reports.
    service_name: Annotated[str, Field(min_length=1)] = 'worker'
    #: Version or commit of what runs, in metrics, logs, traces and error reports.
    release: str = 'unknown'
    #: Where the web server listens; locally on loopback only.
    server_host: str = ''
    #: 0 takes any free port.
    server_port: Annotated[int, Field(ge=0, le=65535)] = 8080

    # Queues

    #: A URL, ``embedded`` (or ``embedded:PORT``) for a server of our own, or empty for AWS.
    sqs_endpoint_url: Annotated[types.SqsEndpoint | None, Field(repr=False)] = None
    aws_region: str = 'us-west-2'
    #: Gets a copy of every task message; empty switches it off.
    platform_queue_name: str = PLATFORM_QUEUE
    #: Short names of the queues that this worker consumes, separated by commas; by default those
    #: of the mapping. Celery's own queue is always among them.
    consume_queues: types.Names = Field(default=None, validate_default=False)
    #: Make missing queues, and fix redrive policies; else the start verifies them.
    sqs_create_queues: bool = True
    #: Send tasks that the mapping does not have, to the queue of Celery's own tasks.
    allow_unmapped_tasks: bool = False
    #: Seconds after which a chord fails whose header has not finished.
    chord_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 86_400

    # Results: PostgreSQL, in whose place CELERY_RESULT_BACKEND may name any backend of Celery's

    result_db_user: str = 'cadasta'
    result_db_pass: SecretStr = SecretStr('cadasta')
    #: Locally, results are in a SQLite file until this is set.
    result_db_host: str | None = None
    result_db_port: types.Port = 5432
    result_db_name: str = 'cadasta'
    #: Seconds after which a result backend that does not answer is given up, to be tried again.
    result_backend_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    #: Seconds that a task goes on waiting for an unavailable result backend when the worker stops.
    result_backend_shutdown_timeout: Annotated[float, Field(ge=0, le=43_200)] = 5.0
    #: Whether a message whose task runs already or has run is skipped: docs/settings.md.
    idempotency_guard: bool = False

    # Rate limits: be_queue/worker/ratelimit

    #: ``host:port`` or URL of the service that keeps rate limits, and its domain for ours.
    ratelimit_host: types.RatelimitHost | None = None
    ratelimit_domain: str | None = None
    #: Where limits written in the mapping are kept for all workers together; else by each alone.
    ratelimit_redis_url: Annotated[str | None, Field(repr=False)] = None
    #: Seconds for a request to the service or to Redis.
    ratelimit_timeout: Annotated[float, Field(ge=0.01, le=10)] = 0.1
    #: While neither answers, queues have no limit (open) or are not polled (closed).
    ratelimit_failure_policy: Literal['open', 'closed'] = 'open'

    # Metrics: be_queue/worker/metrics, be_queue/worker/web

    #: In front of every metric's name; by default the service's name with ``_``.
    metrics_prefix: types.MetricsPrefix | None = None
    #: Where the processes keep their metrics; emptied at every start.
    prometheus_multiproc_dir: Path = Path('prometheus_multiproc_dir')
    #: Seconds between two questions to SQS how many messages are in each queue; 0 for no metrics.
    queue_depth_interval: Annotated[float, Field(ge=0, le=3600)] = 30.0

    # Logs: be_queue/worker/logs

    #: The least that is logged.
    log_level: types.LogLevel = 'INFO'
    #: Levels of single loggers and those below them: ``sqlalchemy.engine=INFO,kombu=DEBUG``.
    log_levels: types.LogLevels = Field(default_factory=dict, validate_default=False)
    #: ``auto`` is ``console`` on a terminal or when ``env`` is local, else ``json``.
    log_format: types.LogFormat = 'auto'

    # Errors: be_queue/worker/sentry

    #: Where errors are reported to; unset, they are not.
    sentry_dsn: types.SentryDsn = SecretStr('')
    #: Whether reports hold the arguments of tasks and the local variables of the code that failed.
    sentry_send_arguments: bool = False
    #: The part of the errors that is reported.
    sentry_sample_rate: Annotated[float, Field(gt=0, le=1)] = 1.0

    # Traces: be_queue/worker/tracing; off until an agent or an endpoint is set

    #: Jaeger's client to an agent, or OpenTelemetry's to an OTLP endpoint.
    tracing_exporter: Literal['jaeger', 'otlp'] = 'jaeger'
    #: The Jaeger agent that takes spans over UDP; without it Jaeger's exporter is off.
    jaeger_agent_host: types.Host | None = None
    jaeger_agent_port: types.Port = 6831
    #: Where OTLP over HTTP is taken, without the path ``/v1/traces``.
    otel_exporter_otlp_endpoint: types.OtlpEndpoint | None = None
    #: How traces that begin here are chosen, by either exporter.
    jaeger_sampler_type: Literal['const', 'probabilistic', 'ratelimiting'] = 'const'
    #: 0 or 1 for const, a share of 1 for probabilistic, traces per second and process else.
    jaeger_sampler_param: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    # Event logs: be_queue/worker/fluent

    #: A server of Fluentd's forward protocol, which passes events on to Treasure Data.
    fluent_host: types.HostOrIPv4 | None = None
    fluent_port: types.Port = 24224
    #: The Treasure Data database of the tables.
    td_database: types.TdName | None = None
    #: Room for events that wait for the server, in each process; beyond it, the oldest are dropped.
    #: In bytes, of which each event counts 1,024.
    fluent_buffer: Annotated[int, Field(ge=4096)] = 4 * 1024 * 1024

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
