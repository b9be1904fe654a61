"""Where spans go, as it is set."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.config.configuration import Config
from be_queue.worker.settings import ConfigError

Configured = Callable[..., Config]
OTLP = {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://localhost:4318'}
PARAM, ENDPOINT = 'JAEGER_SAMPLER_PARAM=', 'OTEL_EXPORTER_OTLP_ENDPOINT='


@pytest.mark.parametrize(
    ('variables', 'is_traced'),
    [
        ({}, False),
        ({'JAEGER_AGENT_HOST': 'jaeger_1.tracing.svc'}, True),
        ({'JAEGER_AGENT_HOST': '::1'}, True),
        # Platforms set it for all that runs on them.
        (OTLP, False),
        ({'TRACING_EXPORTER': 'otlp', **OTLP}, True),
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
        ({'TRACING_EXPORTER': 'otlp'}, f'{ENDPOINT}None: must be set while TRACING_EXPORTER=otlp'),
        ({'OTEL_EXPORTER_OTLP_ENDPOINT': 'localhost:4318'}, f"{ENDPOINT}'localhost:4318': must be"),
        ({'OTEL_EXPORTER_OTLP_ENDPOINT': 'https://user:hunter2@host'}, ENDPOINT),
        (
            {'JAEGER_AGENT_HOST': 'http://jaeger:6831'},
            "JAEGER_AGENT_HOST='http://jaeger:6831': must be the name or the address of a host",
        ),
        ({'JAEGER_SAMPLER_TYPE': 'remote'}, "JAEGER_SAMPLER_TYPE='remote': must be 'const', "),
        ({'JAEGER_SAMPLER_PARAM': '0.1'}, f"{PARAM}'0.1': must be 0 or 1"),
        (
            {'JAEGER_SAMPLER_TYPE': 'probabilistic', 'JAEGER_SAMPLER_PARAM': '10'},
            f"{PARAM}'10': must be from 0 to 1",
        ),
        ({'JAEGER_SAMPLER_PARAM': '-1'}, PARAM),
        ({'JAEGER_SAMPLER_PARAM': 'nan'}, PARAM),
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
