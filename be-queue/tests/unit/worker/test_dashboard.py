from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from jinja2 import Undefined

from be_queue.worker.web.dashboard.filters import UNKNOWN, ago, duration, number

DISTANCES = {
    timedelta(milliseconds=-500): '0 s ago',
    timedelta(seconds=-90): '1 min ago',
    timedelta(hours=-5): '5 h ago',
    timedelta(days=-400): '400 d ago',
    timedelta(minutes=2, seconds=30): 'in 2 min',
}


@pytest.mark.parametrize(
    ('filtered', 'value', 'text'),
    [
        (number, 999, '999'),
        (number, 1234567.0, '1 234 567'),
        (number, None, UNKNOWN),
        (number, Undefined(), UNKNOWN),
        (duration, 0.9994, '999 ms'),
        (duration, 0.9996, '1.00 s'),
        (duration, 59.9, '59.90 s'),
        (duration, 90, '1.5 min'),
        (duration, 5400, '1.5 h'),
        (duration, None, UNKNOWN),
    ],
)
def test_numbers_are_grouped_and_durations_have_a_fitting_unit(
    filtered: Callable[[Any], str], value: Any, text: str
) -> None:
    assert filtered(value).replace('\N{NARROW NO-BREAK SPACE}', ' ') == text


def test_moments_are_told_by_their_distance() -> None:
    now = datetime.now(timezone.utc)
    assert [ago(now + distance) for distance in DISTANCES] == list(DISTANCES.values())
