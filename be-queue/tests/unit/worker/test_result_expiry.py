from __future__ import annotations

from unittest import mock

import pytest
from celery import signals

from be_queue.worker import result_expiry


def test_a_deletion_is_sent_within_the_hour_and_each_day(caplog: pytest.LogCaptureFixture) -> None:
    consumer = mock.Mock()
    consumer.app.send_task.side_effect = [None, OSError('no route')]
    result_expiry.install()
    signals.worker_ready.send(sender=consumer)
    signals.worker_ready.disconnect(result_expiry._schedule)
    for _ in range(2):
        _, send, args = consumer.timer.call_after.call_args.args
        send(*args)
    first, *others = (call.args[0] for call in consumer.timer.call_after.call_args_list)
    assert 0 <= first <= result_expiry.FIRST_WITHIN
    assert others == [result_expiry.INTERVAL] * 2
    sent = mock.call('celery.backend_cleanup', ignore_result=True)
    assert consumer.app.send_task.call_args_list == [sent] * 2
    assert caplog.text.count('expired results are kept for another day') == 1
