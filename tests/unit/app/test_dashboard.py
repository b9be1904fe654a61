from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from jinja2 import Undefined

from app.web.dashboard import UNKNOWN, ago, duration, number


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0, '0'), (999, '999'), (1234567.0, '1 234 567'), (None, UNKNOWN), (Undefined(), UNKNOWN)],
)
def test_numbers_are_grouped(value, text):
    assert number(value).replace('\N{NARROW NO-BREAK SPACE}', ' ') == text


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0.0123, '12 ms'),
        (0.9994, '999 ms'),
        (0.9996, '1.00 s'),
        (59.9, '59.90 s'),
        (90, '1.5 min'),
        (5400, '1.5 h'),
        (None, UNKNOWN),
        (Undefined(), UNKNOWN),
    ],
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ('distance', 'text'),
    [
        (timedelta(milliseconds=-500), '0 s ago'),
        (timedelta(seconds=-90), '1 min ago'),
        (timedelta(hours=-5), '5 h ago'),
        (timedelta(days=-400), '400 d ago'),
        (timedelta(minutes=2, seconds=30), 'in 2 min'),
    ],
)
def test_moments_are_told_by_their_distance(distance, text):
    assert ago(datetime.now(timezone.utc) + distance) == text
