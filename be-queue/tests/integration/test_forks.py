"""A producer that forks, as under gunicorn --preload or uWSGI, on a real SQS server."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from tests.integration.received import received
from tests.integration.sending import Site, site

__all__ = ['site']

PROGRAM = """
import gc, os, signal, threading
from contextlib import ExitStack
from celery import Celery
from kombu.utils.objects import cached_property

# Ends what hangs.
signal.alarm(90)
os.register_at_fork(after_in_child=lambda: signal.alarm(60))

from be_queue import Config

app = Celery()
app.config_from_object(Config(
    ['work'], SQS_ENDPOINT_URL={url!r}, QUEUE_NAME_PREFIX={env!r}, PLATFORM_QUEUE_NAME='',
    result_backend='disabled://',
))
connection = None


def send(count):
    for _ in range(count):
        task = app.send_task('work.one', connection=connection)
        os.write(1, (task.id + '\\n').encode())


def forked(count):
    # Each waits for the last: they send side by side.
    ready, go = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if not pid:
            os.close(go)
            os.read(ready, 1)
            try:
                send(20)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    os.close(go)
    return pids


def ended(pids):
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)


# While a thread reads all that kombu locks.
locked, stop = threading.Event(), threading.Event()


def lock_all():
    with ExitStack() as stack:
        for found in gc.get_objects():
            if isinstance(found, cached_property):
                stack.enter_context(found.lock)
        locked.set()
        stop.wait()


send(1)
holder = threading.Thread(target=lock_all, daemon=True)
holder.start()
locked.wait()
pids = forked(1)
stop.set()
ended(pids)

# While threads send.
stop = threading.Event()


def send_on():
    while not stop.is_set():
        send(1)


threads = [threading.Thread(target=send_on) for _ in range(4)]
for thread in threads:
    thread.start()
send(20)
pids = forked(4)
send(20)
ended(pids)
stop.set()
for thread in threads:
    thread.join()

# By a connection of its own.
connection = app.connection_for_write()
app.pool.acquire = lambda *_, **__: 1 / 0  # not from the pool
send(1)
pids = forked(4)
send(20)
ended(pids)
"""


def test_a_forked_process_loses_and_doubles_no_task(site: Site) -> None:
    program = PROGRAM.format(url=site.sqs.url, env=site.env)
    # Python 3.12 warns of a fork beside threads, which is what this is about.
    command = [sys.executable, '-W', 'ignore::DeprecationWarning', '-c', program]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert (run.returncode, run.stderr) == (0, '')
    sent = Counter(run.stdout.split())
    assert Counter(task.task_id for task in received(site.sqs, site.work)) == sent
