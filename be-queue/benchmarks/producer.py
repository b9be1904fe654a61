"""Sends tasks as one contender does: a program of its own, so that nothing else takes its time.

    python -m benchmarks.producer seed                  one task, with its queues
    python -m benchmarks.producer publish SECONDS N     delay() in a loop, in N threads
    python -m benchmarks.producer batch SECONDS         be_queue.send_batch() of a thousand each
    python -m benchmarks.producer latency COUNT         single tasks to an idle worker

Contender, broker and queues are in the environment, as for a worker. The answer is JSON on stdout.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import be_queue
from benchmarks.contenders import BenchmarkError
from benchmarks.records import Records
from benchmarks.worker_app import app, noop, records_path

#: Tasks of each thread before anything is timed: connections are made and queues declared.
WARM_UP = 3
#: Signatures of one send_batch().
BATCH = 1000
#: Seconds from the start of a task to the next send, least and most. Development SQS servers look
#: for a message every 0.1 s of a long poll: the sends are spread evenly over that.
PAUSE = (0.05, 0.15)
#: Seconds for an idle worker to start a task.
MAX_START_SECONDS = 30.0


def main(command: str, amount: str = '0', threads: str = '1') -> Any:
    """Run a command; return its answer."""
    if command == 'latency':
        return latencies(int(amount))
    if command == 'seed':
        return send()
    return rate(send_thousand if command == 'batch' else send, float(amount), int(threads))


def send() -> int:
    """Send a task; return 1."""
    noop.delay()
    return 1


def send_thousand() -> int:
    """Send tasks in batches; return how many."""
    signatures = [noop.s() for _ in range(BATCH)]
    errors = [one.error for one in be_queue.send_batch(app, signatures) if one.error]
    if errors:
        raise BenchmarkError(f'{len(errors)} of {BATCH} tasks were not sent: {errors[0]}')
    return BATCH


def rate(send_some: Callable[[], int], seconds: float, threads: int) -> dict[str, float]:
    """Send for some seconds; return how many tasks, the time, and the tasks with the warm-up's."""
    times = []
    ready = threading.Barrier(threads, lambda: times.append(time.monotonic()))

    def send_on() -> int:
        for _ in range(WARM_UP):
            send()
        ready.wait()
        sent = 0
        while time.monotonic() - times[0] < seconds:
            sent += send_some()
        return sent

    with ThreadPoolExecutor(threads) as pool:
        sent = [pool.submit(send_on) for _ in range(threads)]
    took, timed = time.monotonic() - times[0], sum(each.result() for each in sent)
    return {'timed': timed, 'seconds': took, 'sent': timed + WARM_UP * threads}


def latencies(count: int) -> list[float]:
    """Return the seconds from each send to the start of its task."""
    records = Records(records_path)
    shortest, longest = PAUSE
    pauses = [shortest + (longest - shortest) * (n + 0.5) / count for n in range(count)]
    random.shuffle(pauses)
    sent: dict[str, float] = {}
    for pause in [shortest] * WARM_UP + pauses:
        time.sleep(pause)
        before = records.count()
        now = time.monotonic()
        sent[str(noop.delay().id)] = now
        # Looks often: the pause counts from here.
        while records.count() == before:
            if time.monotonic() > now + MAX_START_SECONDS:
                raise BenchmarkError(f'a task has not started within {MAX_START_SECONDS} s')
            time.sleep(0.002)
    ran = records.first_runs()
    return [ran[task_id] - when for task_id, when in list(sent.items())[WARM_UP:]]


if __name__ == '__main__':
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + '\n')
