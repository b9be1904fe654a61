from __future__ import annotations

import logging
import threading

import pytest

from app.web.repeating import Repeating
from tests.support.waiting import wait_until


def test_it_goes_on_after_a_failure_and_logs_one_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        if len(calls) not in (3, 7):
            raise RuntimeError('broken')

    repeating = Repeating('a thread', 0.001, call)
    repeating.start()
    wait_until(lambda: len(calls) > 9, 'it is called')
    repeating.stop()
    wait_until(lambda: 'a thread' not in {t.name for t in threading.enumerate()}, 'it has ended')
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 3
    assert 'a thread' in failures[0].getMessage()
