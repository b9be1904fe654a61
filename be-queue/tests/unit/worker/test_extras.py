"""A worker without some of be-queue's extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.extras import OPTIONAL, without
from tests.support.process import ROOT, bare_environment


def ended(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=bare_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


SENTRY = {'SENTRY_DSN': 'https://key@sentry.example/42'}
FLUENT = {'FLUENT_HOST': 'h', 'TD_DATABASE': 'events'}
OTLP = {'TRACING_EXPORTER': 'otlp', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://h:4318'}


@pytest.mark.parametrize(
    ('variables', 'missing'),
    [
        (
            SENTRY | FLUENT | {'JAEGER_AGENT_HOST': 'h'},
            [
                ('SENTRY_DSN', 'sentry_sdk', 'sentry'),
                ('FLUENT_HOST', 'fluent', 'fluent'),
                ('JAEGER_AGENT_HOST', 'jaeger_client', 'jaeger'),
            ],
        ),
        (OTLP, [('TRACING_EXPORTER=otlp', 'opentelemetry.exporter.otlp.proto.http', 'otlp')]),
        ({'VAULT_ADDR': 'https://vault:8200'}, [('VAULT_ADDR', 'hvac', 'vault')]),
    ],
)
def test_a_setting_whose_extra_is_missing_stops_the_start_in_one_line(
    variables: dict[str, str], missing: list[tuple[str, str, str]]
) -> None:
    start = ended('app/server.py', **variables, **without(*OPTIONAL))

    assert start.stderr.splitlines() == [
        f'cannot start: {cause} is set, but {module} is not installed: install be-queue[{extra}]'
        for cause, module, extra in missing
    ]
    assert start.returncode == 1


def test_without_its_extra_the_worker_names_it() -> None:
    start = ended('app/server.py', **without('flask'))

    line = 'be_queue.worker is imported, but flask is not installed: install be-queue[worker]'
    assert start.stderr.splitlines()[-1] == f'ModuleNotFoundError: {line}'


CALLS = """
from app.utils.fluent import td
from app.utils.tracing import tracer

with tracer().start_active_span('resize'):
    print(td.log('page_views', {'page': '/'}))
"""


def test_tasks_may_log_events_and_make_spans_without_what_sends_them() -> None:
    calls = ended('-c', CALLS, **without(*OPTIONAL))

    assert (calls.stdout, calls.stderr) == ('False\n', '')
