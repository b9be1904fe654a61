"""Errors of sending: results keep them pickled."""

from __future__ import annotations

import pickle

import pytest

from be_queue import BeQueueError, MessageTooLargeError, NotSentError

ERRORS = [
    (
        MessageTooLargeError('work', 'the-id', 'prod-work', 2_000_000, 1_048_576),
        "task 'work' the-id: its message has 2000000 bytes and queue 'prod-work' takes 1048576: "
        'store the data elsewhere, such as in S3, and pass a reference to it',
    ),
    (
        NotSentError('work', 'the-id', ['prod-work'], {'prod-platform.fifo': 'AccessDenied'}),
        "task 'work' the-id: sent to prod-work, where it stays, but not to prod-platform.fifo: "
        'AccessDenied: fix the cause',
    ),
    (
        NotSentError('work', 'the-id', [], {'prod-work': 'a', 'prod-platform.fifo': 'b'}),
        "task 'work' the-id: not sent to prod-work: a; prod-platform.fifo: b: fix the cause and "
        'send it again',
    ),
]


@pytest.mark.parametrize(('error', 'text'), ERRORS)
def test_an_error_says_the_fault_and_the_fix_also_after_pickling(
    error: BeQueueError, text: str
) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert vars(copy) == vars(error)
    assert str(copy) == str(error) == text
