"""``/healthz``: should the worker be restarted? ``/readyz``: does it do its work?"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, jsonify

from be_queue.transport.poller import State as PollerState
from be_queue.worker import heartbeat
from be_queue.worker.heartbeat import Heartbeat, State
from be_queue.worker.settings import Settings
from be_queue.worker.web.checks import Check, faults

__all__ = ['STUCK_SECONDS', 'health', 'not_consuming', 'stuck']

#: Without a turn of the worker's event loop for so long, it counts as stuck. Handing a message
#: back to SQS blocks the loop, for at most three tries of five seconds.
STUCK_SECONDS = 30.0


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
