from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, MAX_WAIT, Outage

SETTINGS = (Path(__file__).parents[4] / 'docs' / 'settings.md').read_text()


@pytest.mark.parametrize('hint', ['', 'SERVER_HOST and the password'])
def test_an_outage_is_two_lines_in_the_log(caplog, hint):
    outage = Outage('the server', hint=hint)
    for _ in range(2000):
        assert 0 <= outage.failed(OSError('a://user:hush@host is gone')) <= MAX_WAIT
    outage.ended()
    outage.ended()
    first, second = caplog.messages
    assert first == (
        'the server is unavailable, trying until it is back: OSError: a://user:***@host is gone'
        + (f': check {hint}' if hint else '')
    )
    assert second.startswith('the server is back: failures=2000')


@pytest.mark.parametrize('hint', [CHECK_SQS, CHECK_RESULT_DB])
def test_the_settings_to_check_are_documented(hint):
    settings = re.findall(r'[A-Z_]+_[A-Z]+', hint)
    assert settings
    assert [name for name in settings if f'`{name}`' not in SETTINGS] == []


def test_a_failure_that_was_asked_for_before_an_answer_is_no_new_outage(caplog):
    outage = Outage('the server')
    asked_at = time.monotonic()
    outage.failed(OSError('gone'), asked_at)
    outage.ended()
    assert outage.failed(OSError('late'), asked_at) <= MAX_WAIT
    assert not outage.lasts
    assert len(caplog.messages) == 2
    outage.failed(OSError('gone again'), time.monotonic())
    assert outage.lasts
