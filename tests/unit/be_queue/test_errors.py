"""Errors of sending: results keep them pickled."""

from __future__ import annotations

import pickle

import pytest

from be_queue import BeQueueError, MessageTooLargeError, NotSentError

TOO_LARGE = MessageTooLargeError('work', 'the-id', 'prod-work', 2_000_000, 1_048_576)
PARTLY = NotSentError('work', 'the-id', ['prod-work'], {'prod-platform.fifo': 'AccessDenied'})
NOWHERE = NotSentError('work', 'the-id', [], {'prod-work': 'a', 'prod-platform.fifo': 'b'})


@pytest.mark.parametrize('error', [TOO_LARGE, PARTLY])
def test_a_pickled_error_is_the_same(error: BeQueueError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_a_message_that_is_too_large_is_told_with_both_sizes_and_a_way_out() -> None:
    assert str(TOO_LARGE) == (
        "task 'work' the-id: its message has 2000000 bytes and queue 'prod-work' takes 1048576: "
        'store the data elsewhere, such as in S3, and pass a reference to it'
    )


def test_what_was_not_sent_is_told_with_what_was() -> None:
    assert str(PARTLY) == (
        "task 'work' the-id: sent to prod-work, where it stays, but not to prod-platform.fifo: "
        'AccessDenied: fix the cause'
    )
    assert str(NOWHERE) == (
        "task 'work' the-id: not sent to prod-work: a; prod-platform.fifo: b: fix the cause and "
        'send it again'
    )
