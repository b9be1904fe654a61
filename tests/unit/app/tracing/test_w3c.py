"""The context of a trace in headers, by OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.process import NO_DOTENV, ROOT
from tests.unit.app.tracing.test_spans import SENDER

#: Hands a context on, as from the headers of one message to those of another.
PROPAGATES = f"""
from app.config.configuration import load_config
from app.utils import tracing
from app.utils.role import Role
from opentracing import Format

tracing.start(load_config(), Role.POOL)
context = tracing.tracer().extract(Format.TEXT_MAP, {{'traceparent': '{SENDER}'}})
headers = {{}}
tracing.tracer().inject(context, Format.TEXT_MAP, headers)
print(f'{{context.unwrap().trace_id:032x}}', headers['traceparent'].split('-')[1])
"""


@pytest.mark.parametrize('propagators', ['none', 'b3', 'no-such-propagator'])
def test_the_context_goes_on_whatever_is_set_for_http(propagators: str) -> None:
    ended = subprocess.run(
        [sys.executable, '-c', PROPAGATES],
        cwd=ROOT,
        env={
            'ENV': 'local',
            'USERNAME': 'tests',
            'RESULT_DB_HOST': 'localhost',
            'TRACING_EXPORTER': 'otlp',
            'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1',
            'OTEL_PROPAGATORS': propagators,
            **NO_DOTENV,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ('', 0)
    assert ended.stdout.split() == [f'{10:032x}', f'{10:032x}']
