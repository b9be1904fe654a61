"""The permits of one queue: requests them, keeps them, uses them and waits for more.

LIMITED -> THROTTLED -> LIMITED      none are left before the window ends
LIMITED -> UNLIMITED -> LIMITED      the limiter keeps failing, and the policy is open
LIMITED -> STOPPED -> LIMITED        the same, and the policy is closed
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from be_queue.outage import Outage
from be_queue.worker.metrics import ratelimit as metrics
from be_queue.worker.ratelimit.limiter import Grant, LimiterError

__all__ = ['OnError', 'OnGrant', 'Permits', 'State']

OnGrant = Callable[[Grant], object]
OnError = Callable[[LimiterError], object]

#: Failures in a row after which the policy applies.
MAX_FAILURES = 3
#: Seconds until the next request, at most: before the policy applies, and after.
RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0
#: Permits per request.
MAX_PERMITS = 100
#: Messages of a receive that took no longer were there when it began.
SHORT_RECEIVE_SECONDS = 0.5
#: Workers that wait for the same window return at random times in this part of it, up to so many
#: seconds. A worker that was denied twice returns later: the others use the window up without it.
JITTER_PART, MAX_JITTER_SECONDS = 0.1, 1.0
MAX_DENIED_JITTER_SECONDS = 5.0


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
        ask: requests permits from the limiter, and calls one of two functions in the event loop.
        hub: the event loop.
        wake: called when more messages may be admitted.
        policy: applies while the limiter fails: ``open`` (no limit) or ``closed`` (no messages).
    """

    def __init__(
        self,
        queue: str,
        ask: Callable[[int, OnGrant, OnError], object],
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
        #: Monotonic times: when the window of the kept permits was first seen, when it ends, and
        #: when the queue became limited.
        self._began_at = self._expires_at = 0.0
        self._limited_since = time.monotonic()
        self._ahead = 1
        self._denials = 0
        self._asking = False
        self._closed = False
        self._timer: Any = None
        self.state = State.LIMITED
        self._state_since = time.monotonic()
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
        if asked_at < self._limited_since or self.state is State.UNLIMITED:
            return
        self._expire()
        now = time.monotonic()
        if asked_at < self._began_at or now >= self._expires_at:
            metrics.UNUSED.labels(self._queue).inc(admitted - taken)
            if now - asked_at > SHORT_RECEIVE_SECONDS:
                self._owed += taken
        else:
            self._kept += admitted - taken
            self._set_state()
        if not taken:
            self._ahead = 1

    def account(self) -> None:
        """Add the time throttled so far to its metric."""
        now = time.monotonic()
        if self.state in (State.THROTTLED, State.STOPPED):
            metrics.THROTTLED.labels(self._queue).inc(now - self._state_since)
        self._state_since = now

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        self._stop_waiting()
        self.account()

    def _ask(self, count: int) -> None:
        self._asking = True
        self._ask_limiter(count, self._granted, self._failed)

    def _granted(self, grant: Grant) -> None:
        self._asking = False
        if self._closed:
            return
        metrics.ASKED.labels(self._queue).inc(grant.asked)
        metrics.GRANTED.labels(self._queue).inc(grant.permits)
        metrics.DENIED.labels(self._queue).inc(grant.asked - grant.permits)
        self._expire()
        now = time.monotonic()
        if self._failures:
            self._failures = 0
            self._outage.ended()
        if grant.permits:
            if now >= self._expires_at:
                self._began_at = now
            self._expires_at = now + grant.expires_in
            paid = min(self._owed, grant.permits)
            self._owed -= paid
            self._kept += grant.permits - paid
        self._denials = 0 if grant.permits else self._denials + 1
        if self._denials > 1:
            self._ahead = 1
        if grant.retry_in > 0 or not grant.permits:
            self._wait(grant.retry_in + random.uniform(0, self._jitter(grant.window)))
        self._set_state()
        self._wake()

    def _jitter(self, window: float) -> float:
        if self._denials <= 1:
            return min(JITTER_PART * window, MAX_JITTER_SECONDS)
        return min(window * float(2 ** min(self._denials - 2, 10)), MAX_DENIED_JITTER_SECONDS)

    def _failed(self, error: LimiterError) -> None:
        self._asking = False
        if self._closed:
            return
        metrics.ERRORS.labels(self._queue, error.fault.value).inc()
        self._failures += 1
        if self._failures < MAX_FAILURES:
            self._wait(random.uniform(0, RETRY_SECONDS))
        else:
            self._wait(self._outage.failed(error))
        self._set_state()
        self._wake()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self._hub.call_later(seconds, self._waited)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        self._timer = None
        if self._failures >= MAX_FAILURES:
            self._ask(1)
        else:
            self._set_state()
            self._wake()

    def _expire(self) -> None:
        if self._kept and time.monotonic() >= self._expires_at:
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
        self.account()
        if self.state is State.UNLIMITED:
            self._limited_since = time.monotonic()
        self.state = state
        self._show_state()

    def _show_state(self) -> None:
        for state in State:
            metrics.STATE.labels(self._queue, state.value).set(state is self.state)
