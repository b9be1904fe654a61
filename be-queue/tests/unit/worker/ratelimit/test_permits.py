"""How a worker's permits are asked for, used and waited for; the limiter says what a test wants.

The event loop is kombu's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from kombu.asynchronous import Hub
from prometheus_client import REGISTRY

from be_queue.worker.ratelimit import permits as module
from be_queue.worker.ratelimit.limiter import Fault, Grant, LimiterError
from be_queue.worker.ratelimit.permits import (
    MAX_FAILURES,
    MAX_PERMITS,
    OnError,
    OnGrant,
    Permits,
    State,
)
from tests.support.loop import turn_until

QUEUES = (f'queue-{number}' for number in itertools.count())
ROOM = 1000
#: Seconds of a window that no test sees the end of.
LONG = 60.0


class Limiter:
    """Notes what it is asked for, and answers by `answer`, or later when that is None."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answer: Callable[[int], Grant | LimiterError] | None = everything()
        self.pending: list[tuple[OnGrant, OnError]] = []

    def ask(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        self.asked.append(count)
        if self.answer is None:
            self.pending.append((on_grant, on_error))
            return
        answer = self.answer(count)
        if isinstance(answer, LimiterError):
            on_error(answer)
        else:
            on_grant(answer)


def everything(expires_in: float = LONG) -> Callable[[int], Grant]:
    return lambda count: Grant(count, count, expires_in, 0.0, LONG)


def nothing(retry_in: float, window: float = 0.01) -> Callable[[int], Grant]:
    return lambda count: Grant(count, 0, retry_in, retry_in, window)


def failure() -> Callable[[int], LimiterError]:
    return lambda _: LimiterError(Fault.TIMEOUT, 'no answer')


class Scene:
    """The permits of a queue of its own, and what they are told."""

    def __init__(self, hub: Hub, policy: str = 'open') -> None:
        self.hub = hub
        self.queue = next(QUEUES)
        self.limiter = Limiter()
        self.woken = 0
        self.permits = Permits(self.queue, self.limiter.ask, hub, self._wake, policy)

    def use(self, count: int = 1, room: int = ROOM) -> int:
        """Receive as many messages as are admitted."""
        admitted = self.permits.admit(count, room)
        if admitted:
            self.permits.settle(admitted, admitted, time.monotonic())
        return admitted

    def metric(self, name: str, **labels: str) -> float:
        full_name = f'python_backend_worker_template_ratelimit_{name}'
        return REGISTRY.get_sample_value(full_name, {'queue': self.queue, **labels}) or 0.0

    def run_until(self, condition: Callable[[], bool], what: str) -> None:
        turn_until(self.hub, condition, what)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def scene(hub: Hub) -> Scene:
    return Scene(hub)


def test_more_are_asked_for_while_all_are_used(scene: Scene) -> None:
    while len(scene.limiter.asked) < 10:
        assert scene.use(10)
    assert scene.limiter.asked == [1, 2, 4, 8, 16, 32, 64, 100, 100, 100]
    assert max(scene.limiter.asked) == MAX_PERMITS


def test_no_more_are_asked_for_than_there_is_room_for(scene: Scene) -> None:
    for _ in range(30):
        assert scene.use(3, room=3)
    assert max(scene.limiter.asked) == 3


def test_what_a_receive_leaves_is_kept_and_not_asked_for_again(scene: Scene) -> None:
    for _ in range(5):
        assert scene.permits.admit(1, ROOM) == 1
        scene.permits.settle(1, 0, time.monotonic())
    assert scene.limiter.asked == [1]
    assert scene.metric('permits_unused_total') == 0


def test_after_an_empty_receive_few_are_asked_for(scene: Scene) -> None:
    while max(scene.limiter.asked, default=0) < 16:
        scene.use(10)
    admitted = scene.permits.admit(10, ROOM)
    scene.permits.settle(admitted, 0, time.monotonic())
    asked = len(scene.limiter.asked)
    while len(scene.limiter.asked) == asked:
        scene.use(10)
    assert scene.limiter.asked[-1] == 1


def test_at_the_end_of_their_window_they_are_gone(scene: Scene) -> None:
    scene.limiter.answer = everything(expires_in=0.05)
    assert scene.permits.admit(1, ROOM) == 1
    scene.permits.settle(1, 0, time.monotonic())
    scene.run_until(
        lambda: scene.permits.is_open and scene.metric('permits_unused_total') == 1,
        'the unused one is counted',
    )
    assert scene.permits.admit(1, ROOM) == 1
    assert scene.limiter.asked == [1, 1]


def test_a_message_that_a_long_poll_brings_in_a_later_window_is_paid_for_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'SHORT_RECEIVE_SECONDS', 0.01)
    scene.limiter.answer = everything(expires_in=0.05)
    asked_at = time.monotonic()
    assert scene.permits.admit(1, ROOM) == 1
    scene.run_until(lambda: time.monotonic() > asked_at + 0.1, 'the window ends')
    scene.permits.settle(1, 1, asked_at)
    scene.limiter.answer = everything()
    assert scene.permits.admit(10, ROOM) == 2
    assert scene.limiter.asked == [1, 3]


def test_a_message_that_comes_at_once_has_its_permit_though_a_window_ends_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'SHORT_RECEIVE_SECONDS', 60.0)
    scene.limiter.answer = everything(expires_in=0.05)
    asked_at = time.monotonic()
    assert scene.permits.admit(1, ROOM) == 1
    scene.run_until(lambda: time.monotonic() > asked_at + 0.06, 'the window ends')
    scene.permits.settle(1, 1, asked_at)
    assert scene.permits.admit(10, ROOM) == 2
    assert scene.limiter.asked == [1, 2]


def test_one_request_is_under_way_at_a_time(scene: Scene) -> None:
    scene.limiter.answer = None
    for _ in range(3):
        assert scene.use(10) == 0
    assert scene.limiter.asked == [1]
    assert not scene.permits.is_open
    ((on_grant, _),) = scene.limiter.pending
    on_grant(Grant(1, 1, LONG, 0.0, LONG))
    assert scene.woken == 1
    assert scene.use(10) == 1


def test_a_queue_without_permits_waits_until_there_may_be_more(scene: Scene) -> None:
    scene.limiter.answer = nothing(retry_in=0.2)
    assert scene.use() == 0
    assert scene.permits.state is State.THROTTLED
    assert scene.metric('state', state='throttled') == 1
    assert scene.metric('state', state='limited') == 0
    for _ in range(10):
        assert scene.use() == 0
    assert scene.limiter.asked == [1]
    scene.limiter.answer = everything()
    woken = scene.woken
    scene.run_until(lambda: scene.woken > woken, 'it is woken')
    assert scene.use() == 1
    assert scene.permits.state is State.LIMITED
    assert scene.metric('throttled_seconds_total') >= 0.2


def test_a_fleet_does_not_wake_as_one_and_comes_less_often_to_no_avail(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(scene.hub, 'call_later', lambda seconds, _: waits.append(seconds))

    def longest(denials: int) -> float:
        """Return the longest of many waits after so many windows without a permit."""
        del waits[:]
        for _ in range(50):
            fleet = Scene(scene.hub)
            for _ in range(denials):
                fleet.permits._granted(Grant(1, 0, 3.0, 3.0, 1.0))
        assert min(waits) >= 3.0
        assert len(set(waits)) > 1
        return max(waits)

    # At random over a tenth of the window, and over more and more of the next ones.
    assert longest(denials=1) <= 3.1
    assert 3.1 < longest(denials=2) <= 4.0
    assert 4.0 < longest(denials=20) <= 3.0 + module.MAX_DENIED_JITTER_SECONDS


def test_a_queue_that_finds_none_left_twice_begins_with_one_again(scene: Scene) -> None:
    while max(scene.limiter.asked, default=0) < 16:
        scene.use(10)
    scene.limiter.answer = nothing(retry_in=0.01)
    asked = len(scene.limiter.asked)

    def asked_thrice() -> bool:
        scene.use(10)
        return len(scene.limiter.asked) >= asked + 3

    scene.run_until(asked_thrice, 'it asks again')
    assert scene.limiter.asked[asked:] == [32, 64, 1]


def test_an_answer_of_none_at_once_is_no_tight_loop(scene: Scene) -> None:
    scene.limiter.answer = nothing(retry_in=0.0)
    assert scene.use() == 0
    assert not scene.permits.is_open


@pytest.mark.parametrize(
    ('policy', 'state', 'admitted', 'effect'),
    [
        ('open', State.UNLIMITED, 10, 'has no limit'),
        ('closed', State.STOPPED, 0, 'is not polled'),
    ],
)
def test_the_policy_holds_from_some_failures_to_the_next_answer(
    hub: Hub,
    policy: str,
    state: State,
    admitted: int,
    effect: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(hub, policy)
    scene.limiter.answer = failure()

    def given_up() -> bool:
        scene.use()
        return scene.permits.state is state

    scene.run_until(given_up, 'the policy holds')
    assert len(scene.limiter.asked) == MAX_FAILURES
    assert scene.metric('errors_total', fault='timeout') == MAX_FAILURES
    assert scene.metric('state', state=state.value) == 1
    asked_at = time.monotonic()
    assert scene.permits.admit(10, ROOM) == admitted
    scene.run_until(lambda: len(scene.limiter.asked) > MAX_FAILURES, 'it is asked on')
    scene.limiter.answer = lambda count: Grant(count, 1, LONG, LONG, LONG)
    scene.run_until(lambda: scene.permits.state is State.LIMITED, 'there is a limit')
    # Messages that needed no permit bring none back.
    scene.permits.settle(admitted, 0, asked_at)
    assert scene.use(10) == 1
    assert scene.use(10) == 0
    first, last = (record.getMessage() for record in caplog.records)
    assert f'SQS queue {scene.queue} ' in first
    assert f'{effect} (RATELIMIT_FAILURE_POLICY={policy})' in first
    assert f'SQS queue {scene.queue} is back: ' in last


def test_one_failure_changes_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.limiter.answer = failure()
    assert scene.use() == 0
    scene.limiter.answer = everything()
    scene.run_until(lambda: scene.use() == 1, 'it is asked again')
    assert scene.permits.state is State.LIMITED
    assert not caplog.records


def test_after_the_end_nothing_is_asked_and_no_answer_counts(scene: Scene) -> None:
    scene.limiter.answer = None
    scene.use()
    scene.permits.close()
    ((on_grant, on_error),) = scene.limiter.pending
    on_grant(Grant(1, 1, LONG, 0.0, LONG))
    on_error(LimiterError(Fault.TIMEOUT, 'late'))
    assert scene.woken == 0
    assert scene.metric('permits_granted_total') == 0


def test_no_more_are_admitted_than_granted_and_all_are_counted(scene: Scene) -> None:
    scene.limiter.answer = lambda count: Grant(count, min(count, 3), LONG, 0.0, LONG)
    while len(scene.limiter.asked) < 4:
        scene.use(10)
    assert scene.limiter.asked == [1, 2, 4, 8]
    assert scene.metric('permits_asked_total') == 15
    assert scene.metric('permits_granted_total') == 9
    assert scene.metric('permits_denied_total') == 6
