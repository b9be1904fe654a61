"""Traces: app/utils/tracing."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from app.config.configuration import addresses

__all__ = ['TracingSettings']

#: The packages of each exporter, and what installs them.
PACKAGES = {
    'jaeger': ('opentracing', 'jaeger-client'),
    'otlp': (
        'opentracing',
        'opentelemetry-sdk',
        'opentelemetry-exporter-otlp-proto-http',
        'opentelemetry-opentracing-shim',
    ),
}
INSTALL = {
    'jaeger': 'pip install -r pip-requirements.txt',
    'otlp': f'poetry install --with otlp, or pip install {" ".join(PACKAGES["otlp"])}',
}


class TracingSettings(BaseSettings):
    """Where spans go, and of which traces; off until an agent or an endpoint is set."""

    #: What sends spans: Jaeger's client to an agent, or OpenTelemetry's to an OTLP endpoint.
    tracing_exporter: Literal['jaeger', 'otlp'] = 'jaeger'
    #: The Jaeger agent that takes spans over UDP; without it Jaeger's exporter is off.
    jaeger_agent_host: str | None = None
    jaeger_agent_port: Annotated[int, Field(ge=1, le=65535)] = 6831
    #: Where OTLP over HTTP is taken, without the path ``/v1/traces``.
    otel_exporter_otlp_endpoint: Annotated[str | None, Field(validate_default=True)] = None
    #: How traces that begin here are chosen, by either exporter.
    jaeger_sampler_type: Literal['const', 'probabilistic', 'ratelimiting'] = 'const'
    #: 0 or 1 for const, a share of 1 for probabilistic, traces per second and process else.
    jaeger_sampler_param: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    @field_validator('tracing_exporter')
    @classmethod
    def _usable_exporter(cls, exporter: str) -> str:
        if exporter == 'otlp':
            _check_installed(exporter)
        return exporter

    @field_validator('jaeger_agent_host')
    @classmethod
    def _usable_agent(cls, host: str | None, info: ValidationInfo) -> str | None:
        if host:
            addresses.check_host(host)
            if info.data.get('tracing_exporter') == 'jaeger':
                _check_installed('jaeger')
        return host

    @field_validator('otel_exporter_otlp_endpoint')
    @classmethod
    def _usable_otlp_endpoint(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text:
            addresses.check_otlp_endpoint(text)
        elif info.data.get('tracing_exporter') == 'otlp':
            raise ValueError(
                'set while TRACING_EXPORTER=otlp, for example to http://localhost:4318'
            )
        return text

    @field_validator('jaeger_sampler_param')
    @classmethod
    def _usable_sampler_param(cls, param: float, info: ValidationInfo) -> float:
        kind = info.data.get('jaeger_sampler_type')
        if kind == 'const' and param not in (0, 1):
            raise ValueError('0 or 1 while JAEGER_SAMPLER_TYPE=const; a share is probabilistic')
        if kind == 'probabilistic' and param > 1:
            raise ValueError('from 0 to 1 while JAEGER_SAMPLER_TYPE=probabilistic')
        return param

    @property
    def is_traced(self) -> bool:
        """Whether spans are made."""
        return self.tracing_exporter == 'otlp' or bool(self.jaeger_agent_host)


def _check_installed(exporter: str) -> None:
    for package in PACKAGES[exporter]:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            raise ValueError(
                f'used with the package {package}, which is not installed: {INSTALL[exporter]}'
            ) from None
