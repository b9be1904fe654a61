"""Where spans go, as it is set."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.config.configuration import Config
from be_queue.worker.settings import ConfigError

Configured = Callable[..., Config]
OTLP = 'http://localhost:4318'


@pytest.mark.parametrize(
    ('variables', 'is_traced'),
    [
        ({}, False),
        ({'JAEGER_AGENT_HOST': 'jaeger'}, True),
        # Platforms set it for all that runs on them.
        ({'OTEL_EXPORTER_OTLP_ENDPOINT': OTLP}, False),
        ({'TRACING_EXPORTER': 'otlp', 'OTEL_EXPORTER_OTLP_ENDPOINT': OTLP}, True),
    ],
)
def test_an_agent_or_an_exporter_with_its_endpoint_switches_it_on(
    configured: Configured, variables: dict[str, str], is_traced: bool
) -> None:
    assert configured(**variables).is_traced == is_traced


@pytest.mark.parametrize(
    ('variables', 'line'),
    [
        ({'TRACING_EXPORTER': 'zipkin'}, "TRACING_EXPORTER='zipkin': must be 'jaeger' or 'otlp'"),
        (
            {'TRACING_EXPORTER': 'otlp'},
            'OTEL_EXPORTER_OTLP_ENDPOINT=None: must be set while TRACING_EXPORTER=otlp, for '
            'example to http://localhost:4318',
        ),
        (
            {'OTEL_EXPORTER_OTLP_ENDPOINT': 'localhost:4318'},
            "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318': must be a URL without a login, for "
            'example http://localhost:4318; a login goes into OTEL_EXPORTER_OTLP_HEADERS',
        ),
        (
            {'JAEGER_AGENT_HOST': 'http://jaeger:6831'},
            "JAEGER_AGENT_HOST='http://jaeger:6831': must be the name or the address of a host, "
            'without a scheme and a port',
        ),
        ({'JAEGER_AGENT_PORT': '0'}, 'JAEGER_AGENT_PORT='),
        (
            {'JAEGER_SAMPLER_TYPE': 'remote'},
            "JAEGER_SAMPLER_TYPE='remote': must be 'const', 'probabilistic' or 'ratelimiting'",
        ),
        (
            {'JAEGER_SAMPLER_PARAM': '0.1'},
            "JAEGER_SAMPLER_PARAM='0.1': must be 0 or 1 while JAEGER_SAMPLER_TYPE=const; a share "
            'is probabilistic',
        ),
        (
            {'JAEGER_SAMPLER_TYPE': 'probabilistic', 'JAEGER_SAMPLER_PARAM': '10'},
            "JAEGER_SAMPLER_PARAM='10': must be from 0 to 1 while "
            'JAEGER_SAMPLER_TYPE=probabilistic',
        ),
        ({'JAEGER_SAMPLER_PARAM': '-1'}, 'JAEGER_SAMPLER_PARAM='),
        ({'OTEL_EXPORTER_OTLP_ENDPOINT': 'https://user:hunter2@host'}, 'OTEL_EXPORTER_'),
        ({'JAEGER_SAMPLER_PARAM': 'nan'}, 'JAEGER_SAMPLER_PARAM='),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_that_says_why(
    configured: Configured, variables: dict[str, str], line: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(**variables)
    (found,) = str(raised.value).splitlines()
    assert found.startswith(line)
    assert 'hunter2' not in found


@pytest.mark.parametrize('host', ['jaeger', 'jaeger.tracing.svc', '10.0.0.1', '::1', 'a_b-c'])
def test_names_and_addresses_are_hosts(configured: Configured, host: str) -> None:
    assert configured(JAEGER_AGENT_HOST=host).jaeger_agent_host == host
