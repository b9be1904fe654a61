"""This process's client of Sentry."""

from __future__ import annotations

import logging
import socket
import sys
from functools import partial
from typing import Any

import sentry_sdk
from celery import current_app
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from app import redaction
from app.config.configuration import Config
from app.utils.role import Role
from app.utils.sentry import attempts, failures, lost
from app.utils.sentry.scrub import scrub
from app.utils.sentry.tags import TASK, describe
from app.utils.sentry.transport import Transport
from app.utils.soft_time_limit import put_off

__all__ = ['FLUSH_TIMEOUT', 'start', 'stop']

logger = logging.getLogger(__name__)

#: Seconds for what waits to be sent when the process ends.
FLUSH_TIMEOUT = 2.0
#: Reports that may wait to be sent; more are dropped.
QUEUE_SIZE = 100
BREADCRUMBS = 50
#: From which level on log lines are breadcrumbs. The consumer's are of all tasks at once.
BREADCRUMB_LEVEL = {Role.CONSUMER: logging.WARNING}
#: From which level on a log line with an exception is a report. A pool process reports failures
#: of its own accord, and they have log lines of their own; the consumer's last line is critical.
REPORT_LEVEL = {
    Role.CONSUMER: logging.CRITICAL,
    Role.WEB: logging.ERROR,
    Role.MONITOR: logging.ERROR,
}


def start(config: Config, role: Role) -> None:
    """Start this process's own client, whatever was inherited through the fork."""
    redaction.learn(config)
    sentry_sdk.init(
        dsn=config.sentry_dsn.get_secret_value(),
        transport=Transport,
        transport_queue_size=QUEUE_SIZE,
        environment=config.env,
        release=config.release,
        server_name=socket.gethostname(),
        sample_rate=config.sentry_sample_rate,
        before_send=partial(_prepared, config, role),
        include_local_variables=config.sentry_send_arguments,
        event_scrubber=EventScrubber([*DEFAULT_DENYLIST, 'dsn', 'pwd'], recursive=True),
        max_request_body_size='never',
        max_breadcrumbs=BREADCRUMBS,
        integrations=_integrations(role),
        # The others patch HTTP clients, threads and subprocesses, for traces that we do not take.
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        enable_backpressure_handling=False,
        propagate_traces=False,
        # The flush of the SDK's own as a pool process ends: `stop` does it, within a time.
        shutdown_timeout=0,
        debug=False,
        spotlight=False,
    )
    if role is Role.CONSUMER:
        _keep_calls_unwrapped()
        lost.report_of_consumer(current_app)
    elif role is Role.POOL:
        failures.report_of_pool()
        attempts.connect()


def stop() -> None:
    """Report the exception that ends the process, if one does; send what waits; end the client."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception):
        sentry_sdk.capture_exception(error)
    sentry_sdk.get_client().close(timeout=FLUSH_TIMEOUT)


def _integrations(role: Role) -> list[Integration]:
    chosen: list[Integration] = [
        DedupeIntegration(),
        ExcepthookIntegration(),
        _Logging(
            level=BREADCRUMB_LEVEL.get(role, logging.INFO),
            event_level=REPORT_LEVEL.get(role),
            sentry_logs_level=None,
        ),
    ]
    if role in (Role.CONSUMER, Role.POOL):
        # In the consumer too: its children are born with the hooks, which only a client with the
        # integration uses. It gives each task a scope of its own. Messages get no headers.
        chosen.append(CeleryIntegration(propagate_traces=False, monitor_beat_tasks=False))
    if role is Role.WEB:
        from sentry_sdk.integrations.flask import FlaskIntegration

        chosen.append(FlaskIntegration())
    return chosen


class _Logging(LoggingIntegration):
    """The SDK's, which catches whatever is raised while it takes a log line."""

    def _handle_record(self, record: logging.LogRecord) -> None:
        with put_off:
            super()._handle_record(record)


def _keep_calls_unwrapped() -> None:
    """Keep the SDK's hands off the calls of tasks: it makes a report of whatever they raise.

    See `failures.report_of_pool`. It opens a connection to the broker for each call, too.
    """
    for task in current_app.tasks.values():
        task._sentry_is_patched = True


def _prepared(config: Config, role: Role, event: Any, hint: dict[str, Any]) -> Any:
    """Return the event as it may be sent; None when it is not to be sent."""
    try:
        return _prepare(config, role, event, hint)
    except Exception as error:  # noqa: BLE001  (the SDK would drop the event without a word)
        logger.warning('a report to Sentry is dropped, it cannot be made ready: %s', type(error))
        return None


def _prepare(config: Config, role: Role, event: Any, hint: dict[str, Any]) -> Any:
    record = hint.get('log_record')
    if record is not None and not record.exc_info and record.levelno < logging.CRITICAL:
        return None
    event['tags'] = {**(event.get('tags') or {}), 'role': role.value}
    event['tags']['service'] = config.service_name
    task = current_app.current_worker_task
    about = hint.get(TASK) or (task and (task.name, task.request))
    if about:
        describe(event, *about)
    # The SDK's own note on the task, which repeats this but for its arguments.
    event.get('extra', {}).pop('celery-job', None)
    return scrub(event)
