"""The permits of all queues, before the receives: requested, kept, used and waited for.

LIMITED -> THROTTLED -> LIMITED      none are left before the window ends
LIMITED -> UNLIMITED -> LIMITED      the limiter keeps failing, and the policy is open
LIMITED -> STOPPED -> LIMITED        the same, and the policy is closed
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from typing import Any

from be_queue.outage import Outage, brief
from be_queue.transport import Gate
from be_queue.worker.metrics import ratelimit as metrics
from be_queue.worker.ratelimit.limiter import Fault, Grant, Limiter, LimiterError

__all__ = ['Answer', 'Answered', 'Permits', 'RateLimitGate', 'State']

Answer = Grant | LimiterError
Answered = Callable[[Answer], object]

#: Failures in a row after which the policy applies.
MAX_FAILURES = 3
#: Seconds until the next request, at most: before the policy applies, and after.
RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0
#: Permits per request.
MAX_PERMITS = 100
#: Messages of a receive that took no longer were there when it began.
SHORT_RECEIVE_SECONDS = 0.5
#: Workers that wait for the same window return at random times in this part of it, up to a second.
#: A worker that was denied again and again returns later: the others use the window up without it.
JITTER_PART, MAX_JITTER_SECONDS = 0.1, 1.0
DENIED_FACTOR, MAX_DENIED_JITTER_SECONDS = 4.0, 5.0
#: Seconds between two additions to the time throttled.
COUNT_INTERVAL = 1.0
#: Limiters that are asked at a time, in threads, since they block.
THREADS = 20


class State(str, Enum):
    """How a queue is limited."""

    LIMITED = 'limited'
    THROTTLED = 'throttled'
    UNLIMITED = 'unlimited'
    STOPPED = 'stopped'


class Permits:
    """The permits that this worker has for a queue.

    Arguments:
        queue: its name on SQS.
        ask: requests permits from the limiter, and passes its answer on in the event loop.
        hub: the event loop.
        wake: called when more messages may be admitted.
        policy: applies while the limiter fails: ``open`` (no limit) or ``closed`` (no messages).
    """

    def __init__(
        self,
        queue: str,
        ask: Callable[[int, Answered], object],
        hub: Any,
        wake: Callable[[], object],
        policy: str,
    ) -> None:
        self._queue = queue
        self._ask_limiter = ask
        self._hub = hub
        self._wake = wake
        self._on_failure = State.UNLIMITED if policy == 'open' else State.STOPPED
        effect = 'has no limit' if policy == 'open' else 'is not polled'
        self._outage = Outage(
            f'the rate limiter of SQS queue {queue}',
            max_wait=MAX_RETRY_SECONDS,
            hint='RATELIMIT_HOST, RATELIMIT_DOMAIN and the ratelimit_name, or RATELIMIT_REDIS_URL; '
            f'until then the queue {effect} (RATELIMIT_FAILURE_POLICY={policy})',
        )
        self._failures = 0
        self._kept = 0
        #: Permits to pay for messages that came after the window of their own permits.
        self._owed = 0
        #: Monotonic times: since when receives have been admitted by permits of the latest window,
        #: and when that ends.
        self._began_at = self._ends_at = 0.0
        #: Permits to ask for next.
        self._ahead = 1
        self._denials = 0
        self._asking = False
        self._closed = False
        self._timer: Any = None
        self.state = State.LIMITED
        self._counted_at = time.monotonic()
        self._show_state()

    @property
    def is_open(self) -> bool:
        """Whether a message may be asked for, or a permit."""
        self._expire()
        if self.state in (State.UNLIMITED, State.STOPPED):
            return self.state is State.UNLIMITED
        return self._kept > 0 or not (self._asking or self._timer is not None)

    def admit(self, count: int, room: int) -> int:
        """Return for how many of ``count`` messages there are permits; see `Gate.admit`.

        When there are none, asks for some.
        """
        if not self.is_open:
            return 0
        if self.state is State.UNLIMITED:
            return count
        if not self._kept:
            wanted = min(self._ahead, max(room, 1))
            # Twice as many next time, unless some stay unused.
            self._ahead = min(2 * self._ahead, MAX_PERMITS)
            self._ask(wanted + self._owed)
        admitted = min(count, self._kept)
        self._kept -= admitted
        self._set_state()
        return admitted

    def settle(self, admitted: int, taken: int, asked_at: float) -> None:
        """Take back what a receive has not used; see `Gate.settle`."""
        if self.state is State.UNLIMITED:
            return
        self._expire()
        now = time.monotonic()
        if asked_at < self._began_at or now >= self._ends_at:
            metrics.UNUSED.labels(self._queue).inc(admitted - taken)
            if now - asked_at > SHORT_RECEIVE_SECONDS:
                self._owed += taken
        else:
            self._kept += admitted - taken
            self._set_state()
        if not taken:
            self._ahead = 1

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.count_time()

    def _ask(self, count: int) -> None:
        self._asking = True
        self._ask_limiter(count, partial(self._answered, count))

    def _answered(self, asked: int, answer: Answer) -> None:
        self._asking = False
        if self._closed:
            return
        if isinstance(answer, Grant):
            self._granted(asked, answer)
        else:
            metrics.ERRORS.labels(self._queue, answer.fault.value).inc()
            self._failures += 1
            has_policy = self._failures >= MAX_FAILURES
            retry = random.uniform(0, RETRY_SECONDS)
            self._wait(self._outage.failed(answer) if has_policy else retry)
        self._set_state()
        self._wake()

    def _granted(self, asked: int, grant: Grant) -> None:
        metrics.ASKED.labels(self._queue).inc(asked)
        metrics.GRANTED.labels(self._queue).inc(grant.permits)
        metrics.DENIED.labels(self._queue).inc(asked - grant.permits)
        if self._failures:
            self._failures = 0
            self._outage.ended()
        self._expire()
        now = time.monotonic()
        if grant.permits:
            if now >= self._ends_at:
                self._began_at = now
            self._ends_at = now + grant.ends_in
            paid = min(self._owed, grant.permits)
            self._owed -= paid
            self._kept += grant.permits - paid
            self._denials = 0
        else:
            self._denials += 1
            if self._denials > 1:
                self._ahead = 1
        if grant.is_used_up or not grant.permits:
            jitter = min(JITTER_PART * grant.window, MAX_JITTER_SECONDS)
            jitter *= DENIED_FACTOR ** min(max(self._denials - 1, 0), 5)
            seconds = random.uniform(0, min(jitter, MAX_DENIED_JITTER_SECONDS))
            self._wait(seconds + (grant.ends_in if grant.is_used_up else 0))

    def _wait(self, seconds: float) -> None:
        self._timer = self._hub.call_later(seconds, self._waited)

    def _waited(self) -> None:
        self._timer = None
        if self._failures >= MAX_FAILURES:
            self._ask(1)
        else:
            self._set_state()
            self._wake()

    def _expire(self) -> None:
        if self._kept and time.monotonic() >= self._ends_at:
            metrics.UNUSED.labels(self._queue).inc(self._kept)
            self._kept = 0
            self._ahead = max(1, self._ahead // 4)

    def _set_state(self) -> None:
        if self._failures >= MAX_FAILURES:
            state = self._on_failure
        elif self._timer is not None and not self._kept:
            state = State.THROTTLED
        else:
            state = State.LIMITED
        if state is self.state:
            return
        self.count_time()
        if self.state is State.UNLIMITED:
            self._began_at = time.monotonic()
        self.state = state
        self._show_state()

    def count_time(self) -> None:
        """Add the time throttled so far to its metric."""
        now = time.monotonic()
        if self.state in (State.THROTTLED, State.STOPPED):
            metrics.THROTTLED.labels(self._queue).inc(now - self._counted_at)
        self._counted_at = now

    def _show_state(self) -> None:
        for state in State:
            metrics.STATE.labels(self._queue, state.value).set(state is self.state)


class RateLimitGate(Gate):
    """Admits messages for which there are permits; those of queues without a limit always.

    Arguments:
        limiters: by queue.
        hub, wake, policy: see `Permits`.
    """

    def __init__(
        self, limiters: Mapping[str, Limiter], hub: Any, wake: Callable[[], object], policy: str
    ) -> None:
        self._hub = hub
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix='ratelimit')
        self._permits = {
            queue: Permits(queue, partial(self._submit, limiter), hub, wake, policy)
            for queue, limiter in limiters.items()
        }
        self._timer = hub.call_repeatedly(COUNT_INTERVAL, self._count_time)

    def is_open(self, queue: str) -> bool:
        permits = self._permits.get(queue)
        return permits is None or permits.is_open

    def admit(self, queue: str, count: int, room: int) -> int:
        permits = self._permits.get(queue)
        return count if permits is None else permits.admit(count, room)

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        permits = self._permits.get(queue)
        if permits is not None:
            permits.settle(admitted, taken, asked_at)

    def close(self) -> None:
        self._timer.cancel()
        for permits in self._permits.values():
            permits.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _count_time(self) -> None:
        for permits in self._permits.values():
            permits.count_time()

    def _submit(self, limiter: Limiter, count: int, answered: Answered) -> None:
        def ask() -> None:
            answer: Answer
            try:
                answer = limiter.acquire(count)
            except LimiterError as error:
                answer = error
            except Exception as error:  # noqa: BLE001  (the queue would wait for ever)
                answer = LimiterError(Fault.ABSURD, brief(error))
            # Another thread may call this one method of the event loop, which wakes it.
            self._hub.call_soon(answered, answer)

        self._threads.submit(ask)
