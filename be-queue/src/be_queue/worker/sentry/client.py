"""Sentry's client of this process, which sends no secrets."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber
from sentry_sdk.transport import HttpTransport

from be_queue.redact import redact
from be_queue.text import MAX_TEXT, shortened, storable
from be_queue.worker import redaction
from be_queue.worker.role import Role
from be_queue.worker.settings import Settings

__all__ = ['MAX_REPORT', 'Transport', 'scrub', 'start', 'stop']

logger = logging.getLogger(__name__)

#: Seconds to send pending events when the process ends.
FLUSH_TIMEOUT = 2.0
#: Events that may wait to be sent; more are dropped.
QUEUE_SIZE = 100
#: Seconds between two log lines about dropped events.
LOG_INTERVAL = 60
#: By role, the levels from which log lines are breadcrumbs, and from which those with an exception
#: are events. The consumer's lines are about all tasks at once; a pool process reports failures of
#: tasks itself.
_LEVELS = {
    Role.CONSUMER: (logging.WARNING, logging.CRITICAL),
    Role.POOL: (logging.INFO, None),
    Role.WEB: (logging.INFO, logging.ERROR),
    Role.MONITOR: (logging.INFO, logging.ERROR),
}
#: Bytes of an event. Sentry takes 1 MiB, with what the SDK puts around an event:
#: https://docs.sentry.io/concepts/data-management/size-limits/
MAX_REPORT = 900_000
#: Characters of a text. The next length is tried while an event is too large.
_LENGTHS = (MAX_TEXT, 2000, 200)


class Transport(HttpTransport):
    """The SDK's, which tries each event once, and logs how many were dropped and why."""

    #: Seconds for a request.
    TIMEOUT = 5

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._dropped: Counter[str] = Counter()
        self._logged_at = float('-inf')

    def on_dropped_event(self, reason: str) -> None:
        self._dropped[reason] += 1
        if time.monotonic() >= self._logged_at + LOG_INTERVAL:
            self._log_dropped()

    def kill(self) -> None:
        self._log_dropped()
        super().kill()

    def _get_pool_options(self) -> dict[str, Any]:
        return super()._get_pool_options() | {'retries': False}

    def _log_dropped(self) -> None:
        dropped, self._dropped = self._dropped, Counter()
        self._logged_at = time.monotonic()
        if dropped:
            counts = ' '.join(f'{reason}={count}' for reason, count in dropped.items())
            logger.warning(
                'reports to Sentry were dropped: %s: check SENTRY_DSN, and the network between',
                counts,
            )


def start(config: Settings, role: Role) -> None:
    """Start this process's own client, whatever was inherited through the fork."""
    redaction.learn(config)
    # Celery's line about a failure would be a breadcrumb of the very event.
    ignore_logger('celery.app.trace')
    level, event_level = _LEVELS[role]
    integrations: list[Integration] = [
        DedupeIntegration(),
        LoggingIntegration(level=level, event_level=event_level, sentry_logs_level=None),
    ]
    if role is Role.WEB:
        from sentry_sdk.integrations.flask import FlaskIntegration

        integrations.append(FlaskIntegration())
    sentry_sdk.init(
        dsn=config.sentry_dsn.get_secret_value(),
        transport=Transport,
        transport_queue_size=QUEUE_SIZE,
        # They would count as reports that were dropped.
        send_client_reports=False,
        environment=config.env,
        release=config.release,
        sample_rate=config.sentry_sample_rate,
        before_send=partial(_before_send, config.sentry_before_send),
        include_local_variables=config.sentry_send_arguments,
        event_scrubber=EventScrubber([*DEFAULT_DENYLIST, 'dsn', 'pwd'], recursive=True),
        max_request_body_size='never',
        max_breadcrumbs=50,
        integrations=integrations,
        # The others patch HTTP clients, threads and subprocesses, for traces, which are off.
        default_integrations=False,
        auto_session_tracking=False,
    )
    sentry_sdk.get_global_scope().set_tags({'role': role.value, 'service': config.service_name})
    if role in (Role.CONSUMER, Role.POOL):
        from be_queue.worker.sentry import failures

        failures.connect(role)


def stop() -> None:
    """Report the exception that ends the process, if any; send pending events; stop the client."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception):
        sentry_sdk.capture_exception(error)
    sentry_sdk.get_client().close(timeout=FLUSH_TIMEOUT)


def scrub(event: Any) -> Any:
    """Return ``event`` without passwords in URLs, values under a secret's name, known secrets.

    The middle of long texts is left out.
    """
    for length in _LENGTHS:
        event = redact(event, leaf=partial(_clean, length))
        if len(json.dumps(event, default=str)) <= MAX_REPORT:
            break
    return event


def _clean(length: int, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Masked before it is shortened: half of a secret is not recognised.
    return shortened(storable(redaction.redacted(redact(value))), length)


def _before_send(hook: Callable[[Any, Any], Any], event: Any, hint: dict[str, Any]) -> Any:
    record = hint.get('log_record')
    if record is not None and not record.exc_info and record.levelno < logging.CRITICAL:
        return None  # a log line alone is no event
    # Twice, since the hook may add a secret.
    return scrub(hook(scrub(event), hint))
