"""``/healthz``: should the worker be restarted? ``/readyz``: does it do its work?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery
from flask import Blueprint, Response, jsonify

from be_queue.outage import CHECK_RESULT_DB, Outage, brief
from be_queue.transport.poller import State as PollerState
from be_queue.worker import heartbeat
from be_queue.worker.heartbeat import Heartbeat, State
from be_queue.worker.settings import Settings

__all__ = ['Check', 'broker_probe', 'faults', 'health', 'not_consuming', 'results_probe', 'stuck']

#: Without a turn of the worker's event loop for so long, it counts as stuck. Handing a message
#: back to SQS blocks the loop, for at most three tries of five seconds.
STUCK_SECONDS = 30.0
#: The longest wait for all outcomes together: Kubernetes gives a probe one second by default.
TIMEOUT_SECONDS = 0.7
#: A server that does not answer for so long counts as unavailable. Until then its last outcome
#: holds: a busy machine may need longer than the timeout for a request that is answered at once.
PATIENCE_SECONDS = 5.0
#: For so long an outcome is used again: many callers cost one probe.
FRESH_SECONDS = 1.0


def health(config: Settings, servers: Iterable[Check]) -> Blueprint:
    """Return the routes; their answers are JSON and come within a second."""
    routes = Blueprint('health', __name__)

    @routes.get('/healthz')
    def healthz() -> tuple[Response, int]:
        beat = heartbeat.read(config.heartbeat_path)
        return _answer({'worker': stuck(beat)}, beat)

    @routes.get('/readyz')
    def readyz() -> tuple[Response, int]:
        beat = heartbeat.read(config.heartbeat_path)
        worker = not_consuming(beat) or _not_receiving(beat)
        return _answer({'worker': worker, **faults(servers)}, beat)

    return routes


def stuck(beat: Heartbeat | None) -> str | None:
    """Return what is wrong with a worker that has not started or no longer moves, else None."""
    if beat is None:
        return 'the worker has not started yet'
    if beat.state is State.CONSUMING and beat.age > STUCK_SECONDS:
        return f'the event loop of worker process {beat.pid} is stuck for {beat.age:.0f} s'
    return None


def not_consuming(beat: Heartbeat | None) -> str | None:
    """Return why the worker does not consume, None when it does."""
    if beat is None or beat.state is State.CONSUMING:
        return stuck(beat)
    return f'the worker is {beat.state.value}'


def _not_receiving(beat: Heartbeat | None) -> str | None:
    pollers = beat.pollers.items() if beat else ()
    backing_off = PollerState.BACKING_OFF.value
    failing = sorted(queue for queue, poller in pollers if poller.state == backing_off)
    return f'SQS refuses or does not answer receives from {", ".join(failing)}' if failing else None


def _answer(found: dict[str, str | None], beat: Heartbeat | None) -> tuple[Response, int]:
    failing = any(found.values())
    pollers = {
        queue: {'state': poller.state, 'seconds_since_receive': round(poller.age, 1)}
        for queue, poller in (beat.pollers.items() if beat else ())
    }
    answer = jsonify(
        status='failing' if failing else 'ok',
        checks={name: fault or 'ok' for name, fault in found.items()},
        pollers=pollers,
    )
    return answer, 503 if failing else 200


class Check:
    """Runs ``probe``, which raises what is wrong, in a thread: one that hangs delays nobody."""

    def __init__(self, name: str, probe: Callable[[], object]) -> None:
        self.name = name
        self._probe = probe
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started, self._finished = 0.0, float('-inf')
        self._fault: str | None = None

    def start(self) -> None:
        """Start a probe, unless one runs or has just finished."""
        now = time.monotonic()
        with self._lock:
            if self._thread is None and now - self._finished >= FRESH_SECONDS:
                self._started = now
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def fault(self, deadline: float) -> str | None:
        """Return what is wrong, None when all is well; wait until ``deadline`` (monotonic)."""
        if thread := self._thread:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if self._thread is None or self._fault:
                return self._fault  # while a probe runs, the error of the last one says more
            seconds = time.monotonic() - self._started
            is_patient = self._finished > 0 and seconds < PATIENCE_SECONDS
            return None if is_patient else f'no answer for {seconds:.1f} s'

    def _run(self) -> None:
        try:
            self._probe()
            fault = None
        except Exception as error:  # noqa: BLE001  (the fault is the answer)
            fault = brief(error)
        with self._lock:
            self._fault, self._finished, self._thread = fault, time.monotonic(), None


def faults(checks: Iterable[Check]) -> dict[str, str | None]:
    """Return each check's fault by its name, within `TIMEOUT_SECONDS`; all run side by side."""
    checks = list(checks)
    for check in checks:
        check.start()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    return {check.name: check.fault(deadline) for check in checks}


def broker_probe(celery_app: Celery) -> Callable[[], None]:
    """Return a probe that asks the broker for the size of one of the worker's queues."""
    channel: Any = None

    def probe() -> None:
        nonlocal channel
        asked, channel = channel or celery_app.connection_for_read().channel(), None
        asked.queue_declare(queue=celery_app.conf.task_default_queue, passive=True)
        channel = asked  # kept only while it works

    return probe


def results_probe(celery_app: Celery) -> Callable[[], None]:
    """Return a probe that reads from the result backend; the log says when it is unavailable."""
    outage = Outage('the result database', hint=CHECK_RESULT_DB)

    def probe() -> None:
        try:
            backend = celery_app.backend
            backend.always_retry = False  # the next probe is the retry
            # There is no such task: the backend must look in its table.
            backend.get_task_meta('readyz', cache=False)
        except Exception as error:
            outage.failed(error)
            raise
        outage.ended()

    return probe
