"""What the headers of a message say."""

from __future__ import annotations

from typing import Any

import pytest

from app.utils.tracing import headers
from be_queue.tracing import SENT_AT


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({SENT_AT: 5.5, headers.TAKEN_AT: 7}, 5.5),
        ({headers.TAKEN_AT: 7}, 7.0),
        ({SENT_AT: 'yesterday', headers.TAKEN_AT: 7}, 7.0),
        ({SENT_AT: None}, None),
        ({SENT_AT: -3}, None),
        ({}, None),
        # The sender's clock is ahead.
        ({SENT_AT: 200}, 100.0),
    ],
)
def test_the_time_of_sending_is_the_senders_or_that_of_sqs(
    given: dict[str, Any], expected: float | None
) -> None:
    assert headers.sent_at(given, 100.0) == expected


def test_sqs_says_when_it_took_a_message() -> None:
    info = {'sqs_message': {'Attributes': {'SentTimestamp': '1700000000123'}}}
    assert headers.sqs_sent_at(info) == 1700000000.123


@pytest.mark.parametrize('info', [None, {}, {'sqs_message': {}}, {'sqs_message': None}])
def test_without_its_word_the_time_is_unknown(info: dict[str, Any] | None) -> None:
    assert headers.sqs_sent_at(info) is None
