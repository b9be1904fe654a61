from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import pytest
from celery import Celery

from be_queue.worker import result_expiry


def test_a_deletion_is_sent_within_the_hour_and_each_day(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery(broker='memory://', set_as_current=False)
    app.send_task = mock.Mock(side_effect=[None, OSError('no route')])
    timer = mock.Mock()
    consumer = SimpleNamespace(app=app, timer=timer)
    result_expiry.install(app)
    (step,) = (kind for kind in app.steps['consumer'] if kind.__name__ == 'ResultExpiry')
    step(consumer).start(consumer)
    waits = []
    for _ in range(3):
        wait, send, args = timer.call_after.call_args.args
        waits.append(wait)
        if len(waits) < 3:
            send(*args)
    assert 0 <= waits[0] <= result_expiry.FIRST_WITHIN
    assert waits[1:] == [result_expiry.INTERVAL] * 2
    assert (
        app.send_task.call_args_list
        == [mock.call('celery.backend_cleanup', ignore_result=True)] * 2
    )
    assert caplog.text.count('expired results are kept for another day') == 1
