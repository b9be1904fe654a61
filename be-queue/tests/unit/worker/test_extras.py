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


@pytest.mark.parametrize(
    ('extra', 'module', 'cause', 'variables'),
    [
        ('sentry', 'sentry_sdk', 'SENTRY_DSN', {'SENTRY_DSN': 'https://key@sentry.example/42'}),
        ('vault', 'hvac', 'VAULT_ADDR', {'VAULT_ADDR': 'https://vault:8200'}),
        ('fluent', 'fluent', 'FLUENT_HOST', {'FLUENT_HOST': 'h', 'TD_DATABASE': 'events'}),
        ('jaeger', 'jaeger_client', 'JAEGER_AGENT_HOST', {'JAEGER_AGENT_HOST': 'h'}),
        (
            'otlp',
            'opentelemetry.exporter.otlp.proto.http',
            'TRACING_EXPORTER=otlp',
            {'TRACING_EXPORTER': 'otlp', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://h:4318'},
        ),
    ],
)
def test_a_setting_whose_extra_is_missing_stops_the_start_in_one_line(
    extra: str, module: str, cause: str, variables: dict[str, str]
) -> None:
    start = ended('app/server.py', **variables, **without(module.partition('.')[0]))

    line = f'{cause} is set, but {module} is not installed: install be-queue[{extra}]'
    assert start.stderr == f'cannot start: {line}\n'
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
