"""Event logs of processes that are none of the worker's: scripts, and their forks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.processes import NO_DOTENV
from tests.support.fluent_server import FluentServer, running_fluent
from tests.support.process import ROOT

#: A fork, while another thread of its parent holds every lock; nothing is opened or closed.
FORK = """
import os, sys, threading, warnings
from be_queue.worker.fluent import td
warnings.simplefilter('ignore', DeprecationWarning)  # a fork beside a thread
td.log('events', {'n': 0, 'pid': os.getpid()})
while td._sender.socket is None: pass
held, done = threading.Event(), threading.Event()
def hold():
    with td._lock, td._sender._change, td._sender.lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
pid = os.fork()
if pid == 0:
    td.log('events', {'n': 1, 'pid': os.getpid()})
    sys.exit()
os.waitpid(pid, 0)
done.set()
for n in range(2, 200):
    assert td.log('events', {'n': n, 'pid': os.getpid()})
sys.exit(3)
"""
EXAMPLE = "import runpy; runpy.run_module('examples.td', run_name='__main__')"


@pytest.fixture
def server() -> Iterator[FluentServer]:
    with running_fluent() as server:
        yield server


def script(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run(
        [sys.executable, '-W', 'error', '-c', text],
        cwd=ROOT,
        env={'PATH': '/usr/bin:/bin', **NO_DOTENV, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_script_and_its_fork_send_all_events_each_by_its_own_connection(
    server: FluentServer,
) -> None:
    ended = script(FORK, **server.environment)
    assert (ended.stderr, ended.returncode) == ('', 3)
    server.wait_received(200)
    by_number = {record['n']: record['pid'] for record in server.records()}
    assert by_number.keys() == set(range(200))
    assert by_number[0] == by_number[2] != by_number[1]
    assert server.connections == 2


def test_the_example_sends_its_events(server: FluentServer) -> None:
    sent = script(EXAMPLE, **server.environment)
    assert (sent.returncode, sent.stderr) == (0, '')
    assert sent.stdout == f'3 events of 3 sent to tests_db.page_views by 127.0.0.1:{server.port}\n'
    server.wait_received(3)
    pages = [record['page'] for record in server.records('page_views')]
    assert pages == ['/', '/cart', '/checkout']

    port = str(free_port())
    gone = script(EXAMPLE, **server.environment | {'FLUENT_PORT': port})
    assert gone.returncode == 1
    assert gone.stdout.startswith('0 events of 3 sent')
    unavailable, lost, *_ = gone.stderr.splitlines()
    assert f'event log server 127.0.0.1:{port} is unavailable' in unavailable
    assert 'could not be sent: events=3' in lost


def test_the_example_says_when_event_logs_are_off() -> None:
    off = script(EXAMPLE)
    assert (off.returncode, off.stdout) == (1, '')
    assert off.stderr == 'event logs are off: set FLUENT_HOST and TD_DATABASE\n'
