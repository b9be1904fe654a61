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

from be_queue.worker.ratelimit import Fault, Grant, LimiterError
from be_queue.worker.ratelimit import permits as module
from be_queue.worker.ratelimit.permits import MAX_FAILURES, Answer, Answered, Permits, State
from tests.support.loop import turn_until

QUEUES = (f'queue-{number}' for number in itertools.count())
ROOM = 1000
#: Seconds of a window that no test sees the end of.
LONG = 60.0


def everything(ends_in: float = LONG) -> Callable[[int], Answer]:
    return lambda count: Grant(count, ends_in, is_used_up=False, window=LONG)


def nothing(ends_in: float) -> Callable[[int], Answer]:
    return lambda _: Grant(0, ends_in, is_used_up=True, window=0.01)


def failure(_: int) -> Answer:
    return LimiterError(Fault.TIMEOUT, 'no answer')


class Scene:
    """The permits of a queue of its own, and what they are told.

    The limiter answers by ``answer``, or later when that is None.
    """

    def __init__(self, hub: Hub, policy: str = 'open') -> None:
        self.hub = hub
        self.queue = next(QUEUES)
        self.asked: list[int] = []
        self.answer: Callable[[int], Answer] | None = everything()
        self.pending: list[Answered] = []
        self.woken = 0
        self.permits = Permits(self.queue, self._ask, hub, self._wake, policy)

    def _ask(self, count: int, answered: Answered) -> None:
        self.asked.append(count)
        if self.answer is None:
            self.pending.append(answered)
        else:
            answered(self.answer(count))

    def use(self, count: int = 1, room: int = ROOM) -> int:
        """Receive as many messages as are admitted."""
        admitted = self.permits.admit(count, room)
        if admitted:
            self.permits.settle(admitted, admitted, time.monotonic())
        return admitted

    def use_until(self, asked: int) -> None:
        """Use all permits until so many are asked for at once."""
        while max(self.asked, default=0) < asked:
            assert self.use(10)

    def receive_nothing(self) -> None:
        admitted = self.permits.admit(1, ROOM)
        assert admitted == 1
        self.permits.settle(admitted, 0, time.monotonic())

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


def test_more_are_asked_for_while_all_are_used_up_to_the_room(scene: Scene) -> None:
    while len(scene.asked) < 9:
        assert scene.use(10)
    assert scene.asked == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    while len(scene.asked) < 12:
        assert scene.use(3, room=3)
    assert scene.asked[9:] == [3, 3, 3]


def test_what_a_receive_leaves_is_kept_and_then_few_are_asked_for(scene: Scene) -> None:
    scene.use_until(16)
    while scene.permits._kept > 1:
        assert scene.use()
    asked = len(scene.asked)
    for _ in range(5):
        scene.receive_nothing()
    assert len(scene.asked) == asked
    assert scene.metric('permits_unused_total') == 0
    assert [scene.use(), scene.use()] == [1, 1]
    assert scene.asked[asked:] == [1]


def test_at_the_end_of_their_window_they_are_gone(scene: Scene) -> None:
    scene.answer = everything(ends_in=0.05)
    scene.receive_nothing()
    scene.run_until(
        lambda: scene.permits.is_open and scene.metric('permits_unused_total') == 1,
        'the unused one is counted',
    )
    assert scene.permits.admit(1, ROOM) == 1
    assert scene.asked == [1, 1]


@pytest.mark.parametrize(
    ('short', 'asked'),
    [(0.01, [1, 3]), (60.0, [1, 2])],
    ids=['of a long poll, it is paid for there', 'that comes at once, it has its permit'],
)
def test_a_message_that_arrives_after_the_window_of_its_permit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, short: float, asked: list[int]
) -> None:
    monkeypatch.setattr(module, 'SHORT_RECEIVE_SECONDS', short)
    scene.answer = everything(ends_in=0.05)
    asked_at = time.monotonic()
    assert scene.permits.admit(1, ROOM) == 1
    scene.run_until(lambda: time.monotonic() > asked_at + 0.1, 'the window ends')
    scene.permits.settle(1, 1, asked_at)
    scene.answer = everything()
    assert scene.permits.admit(10, ROOM) == 2
    assert scene.asked == asked


def test_one_request_is_under_way_at_a_time(scene: Scene) -> None:
    scene.answer = None
    for _ in range(3):
        assert scene.use(10) == 0
    assert not scene.permits.is_open
    (answered,) = scene.pending
    answered(everything()(1))
    assert scene.woken == 1
    assert scene.use(10) == 1


def test_a_queue_without_permits_waits_until_there_may_be_more(scene: Scene) -> None:
    scene.answer = nothing(ends_in=0.2)
    for _ in range(10):
        assert scene.use() == 0
    assert scene.asked == [1]
    assert scene.permits.state is State.THROTTLED
    assert scene.metric('state', state='throttled') == 1
    assert scene.metric('state', state='limited') == 0
    scene.answer = everything()
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
            permits = Scene(scene.hub).permits
            for _ in range(denials):
                permits._answered(1, Grant(0, 3.0, is_used_up=True, window=1.0))
        assert min(waits) >= 3.0
        assert len(set(waits)) > 1
        return max(waits)

    # At random over a tenth of the window, and over more and more of the next ones.
    assert longest(denials=1) <= 3.1
    assert 3.1 < longest(denials=2) <= 3.4
    assert 4.0 < longest(denials=20) <= 3.0 + module.MAX_DENIED_JITTER_SECONDS


def test_a_queue_that_finds_none_left_twice_begins_with_one_again(scene: Scene) -> None:
    scene.use_until(16)
    scene.answer = nothing(ends_in=0.01)
    asked = len(scene.asked)

    def asked_thrice() -> bool:
        scene.use(10)
        return len(scene.asked) >= asked + 3

    scene.run_until(asked_thrice, 'it asks again')
    assert scene.asked[asked:] == [32, 64, 1]


def test_an_answer_of_none_for_now_is_no_tight_loop(scene: Scene) -> None:
    scene.answer = lambda _: Grant(0, LONG, is_used_up=False, window=LONG)
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
    assert scene.use() == 1
    scene.answer = failure

    def given_up() -> bool:
        scene.use()
        return scene.permits.state is state

    scene.run_until(given_up, 'the policy holds')
    assert len(scene.asked) == 1 + MAX_FAILURES
    assert scene.metric('errors_total', fault='timeout') == MAX_FAILURES
    assert scene.metric('state', state=state.value) == 1
    asked_at = time.monotonic()
    assert scene.permits.admit(10, ROOM) == admitted
    scene.run_until(lambda: len(scene.asked) > 1 + MAX_FAILURES, 'it is asked on')
    scene.answer = lambda _: Grant(1, LONG, is_used_up=True, window=LONG)
    scene.run_until(lambda: scene.permits.state is State.LIMITED, 'there is a limit')
    # Messages that needed no permit bring none back.
    scene.permits.settle(admitted, 0, asked_at)
    assert [scene.use(10), scene.use(10)] == [1, 0]
    first, last = (record.getMessage() for record in caplog.records)
    assert f'SQS queue {scene.queue} ' in first
    assert f'{effect} (RATELIMIT_FAILURE_POLICY={policy})' in first
    assert f'SQS queue {scene.queue} is back: ' in last


def test_one_failure_changes_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.answer = failure
    assert scene.use() == 0
    scene.answer = everything()
    scene.run_until(lambda: scene.use() == 1, 'it is asked again')
    assert scene.permits.state is State.LIMITED
    assert not caplog.records


def test_after_the_end_no_answer_counts(scene: Scene) -> None:
    scene.answer = None
    scene.use()
    scene.permits.close()
    scene.pending[0](everything()(1))
    assert scene.woken == scene.metric('permits_granted_total') == 0


def test_no_more_are_admitted_than_granted_and_all_are_counted(scene: Scene) -> None:
    scene.answer = lambda count: Grant(min(count, 3), LONG, is_used_up=False, window=LONG)
    admitted = 0
    while len(scene.asked) < 5:
        admitted += scene.use(10)
    assert scene.asked == [1, 2, 4, 8, 16]
    assert admitted == scene.metric('permits_granted_total') == 12
    assert scene.metric('permits_asked_total') == 31
    assert scene.metric('permits_denied_total') == 19
