"""Sentry's client of this process."""

from __future__ import annotations

import logging
import sys
from typing import Any

import sentry_sdk
from celery import current_app
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from app import redaction
from app.config.configuration import Config
from app.utils.role import Role
from app.utils.sentry import failures
from app.utils.sentry.scrub import scrub
from app.utils.sentry.transport import Transport
from app.utils.soft_time_limit import put_off

__all__ = ['start', 'stop']

logger = logging.getLogger(__name__)

#: Seconds to send pending events when the process ends.
FLUSH_TIMEOUT = 2.0
#: Events that may wait to be sent; more are dropped.
QUEUE_SIZE = 100
MAX_BREADCRUMBS = 50
#: Log lines below this level are no breadcrumbs. The consumer's are those of all tasks at once.
BREADCRUMB_LEVEL = {Role.CONSUMER: logging.WARNING}
#: Log lines with an exception are events from this level on. A pool process has none: its errors
#: are log lines of tasks, whose failures it reports itself.
EVENT_LEVEL = {
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
        sample_rate=config.sentry_sample_rate,
        before_send=_before_send,
        include_local_variables=config.sentry_send_arguments,
        event_scrubber=EventScrubber([*DEFAULT_DENYLIST, 'dsn', 'pwd'], recursive=True),
        max_request_body_size='never',
        max_breadcrumbs=MAX_BREADCRUMBS,
        integrations=_integrations(role),
        # The others patch HTTP clients, threads and subprocesses, for traces, which are off.
        default_integrations=False,
        auto_session_tracking=False,
    )
    sentry_sdk.get_global_scope().set_tags({'role': role.value, 'service': config.service_name})
    if role is Role.CONSUMER:
        failures.report_of_consumer(current_app)
    elif role is Role.POOL:
        failures.report_of_pool()


def stop() -> None:
    """Report the exception that ends the process, if any; send pending events; stop the client."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception):
        sentry_sdk.capture_exception(error)
    sentry_sdk.get_client().close(timeout=FLUSH_TIMEOUT)


def _integrations(role: Role) -> list[Integration]:
    # Celery's line about a failure would be a breadcrumb of the very event.
    ignore_logger('celery.app.trace')
    integrations: list[Integration] = [
        DedupeIntegration(),
        _Logging(
            level=BREADCRUMB_LEVEL.get(role, logging.INFO),
            event_level=EVENT_LEVEL.get(role),
            sentry_logs_level=None,
        ),
    ]
    if role is Role.WEB:
        from sentry_sdk.integrations.flask import FlaskIntegration

        integrations.append(FlaskIntegration())
    return integrations


class _Logging(LoggingIntegration):
    """The SDK's, which would swallow a soft time limit that is exceeded while it runs."""

    def _handle_record(self, record: logging.LogRecord) -> None:
        with put_off:
            super()._handle_record(record)


def _before_send(event: Any, hint: dict[str, Any]) -> Any:
    """Return the event without secrets; None if it is not to be sent."""
    record = hint.get('log_record')
    if record is not None and not record.exc_info and record.levelno < logging.CRITICAL:
        return None
    try:
        return scrub(event)
    except Exception as error:  # noqa: BLE001  (the SDK would drop the event without a word)
        logger.warning('an event for Sentry is dropped, it cannot be scrubbed: %s', type(error))
        return None
