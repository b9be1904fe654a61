from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from celery import Celery
from kombu.asynchronous.timer import Timer

from app.utils import result_expiry


class Broker:
    """An app that notes what it sends, and a consumer of which the step is a part."""

    def __init__(self) -> None:
        self.app = Celery(broker='memory://', set_as_current=False)
        self.app.send_task = self.send
        self.sent: list[str] = []
        self.consumer = SimpleNamespace(app=self.app, timer=Timer())
        result_expiry.install(self.app)
        (step,) = (s for s in self.app.steps['consumer'] if s.__name__ == 'ResultExpiry')
        self.step = step(self.consumer)
        self.step.start(self.consumer)

    def send(self, name: str, **_: object) -> None:
        self.sent.append(name)
        if len(self.sent) > 1:
            raise OSError('no route')

    def planned(self) -> list[float]:
        """Return the seconds until each entry of the timer that is not cancelled."""
        now = time.monotonic()
        queue = self.consumer.timer.queue
        return [item.eta - now for item in queue if not item.entry.canceled]


def test_a_deletion_is_sent_within_the_hour_and_each_day(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    (first,) = broker.planned()
    assert 0 <= first <= result_expiry.FIRST_WITHIN
    for _ in range(2):
        broker.step.timer()
        assert max(broker.planned()) == pytest.approx(result_expiry.INTERVAL, abs=60)
    assert broker.sent == ['celery.backend_cleanup'] * 2
    assert caplog.text.count('expired results are kept for another day') == 1


def test_nothing_is_sent_after_the_stop() -> None:
    broker = Broker()
    broker.step.stop(broker.consumer)
    assert broker.planned() == []
