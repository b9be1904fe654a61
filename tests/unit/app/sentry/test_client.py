from __future__ import annotations

import logging

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sentry_sdk.integrations.logging import LoggingIntegration

from app.utils.role import Role
from app.utils.sentry import client
from tests.support.soft_limit import Striking, applying


def test_the_soft_time_limit_waits_until_a_line_is_a_breadcrumb() -> None:
    # The SDK catches whatever is raised there.
    (taking,) = (i for i in client._integrations(Role.POOL) if isinstance(i, LoggingIntegration))
    record = logging.makeLogRecord({'msg': '%s', 'args': (Striking(),), 'levelno': logging.INFO})
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        taking._handle_record(record)
