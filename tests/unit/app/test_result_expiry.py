from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import pytest
from celery import Celery
from kombu.asynchronous.timer import Timer

from app.utils import result_expiry


@pytest.fixture
def step():
    """The boot step of a worker's app, with a parent as the consumer is one."""
    app = Celery(broker=f'memory://{uuid.uuid4()}', set_as_current=False)
    result_expiry.install(app)
    (step_class,) = (s for s in app.steps['consumer'] if s.__name__ == 'ResultExpiry')
    parent = SimpleNamespace(app=app, timer=Timer())
    return step_class(parent), parent


def planned(timer: Timer) -> list[float]:
    """Return the seconds until each entry of the timer that is not cancelled."""
    now = time.monotonic()
    return [item.eta - now for item in timer.queue if not item.entry.canceled]


def test_the_first_deletion_is_sent_within_the_hour_and_the_next_a_day_later(step, monkeypatch):
    step, parent = step
    sent = []
    monkeypatch.setattr(parent.app, 'send_task', lambda name, **_: sent.append(name))
    step.start(parent)
    (first,) = planned(parent.timer)
    assert 0 <= first <= result_expiry.FIRST_WITHIN
    step.timer()
    assert sent == ['celery.backend_cleanup']
    assert max(planned(parent.timer)) == pytest.approx(result_expiry.INTERVAL, abs=60)


def test_a_broker_that_is_away_is_no_reason_to_stop(step, monkeypatch, caplog):
    step, parent = step

    def fail(*_: object, **__: object) -> None:
        raise OSError('no route')

    monkeypatch.setattr(parent.app, 'send_task', fail)
    step.start(parent)
    step.timer()
    assert 'expired results are kept for another day' in caplog.text


def test_nothing_is_sent_after_the_stop(step):
    step, parent = step
    step.start(parent)
    step.stop(parent)
    assert planned(parent.timer) == []
