"""Event logs of processes that are none of the worker's: scripts, forks, ends of all kinds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.processes import NO_DOTENV
from tests.support.fluent_server import FluentServer, running_fluent
from tests.support.process import ROOT

LOG = 'from be_queue.worker.fluent import td\n'
#: A fork, while another thread of its parent holds every lock.
FORK = """
import os, sys, threading, warnings
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
td.log('events', {'n': 2, 'pid': os.getpid()})
"""
OFF = """
import sys, threading
print(td.log('events', {'n': 1}), td.close())
print([name for name in ('fluent', 'prometheus_client') if name in sys.modules])
print(threading.active_count())
try:
    td.log('events', {'time': 1})
except ValueError as error:
    print(error)
"""


@pytest.fixture
def server() -> Iterator[FluentServer]:
    with running_fluent() as server:
        yield server


def script(text: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
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


def test_a_script_need_not_start_or_end_anything(server: FluentServer) -> None:
    program = "print(all(td.log('events', {'n': n}) for n in range(200))); raise SystemExit(3)"
    ended = script(LOG + program, server.environment)
    assert (ended.stdout, ended.stderr, ended.returncode) == ('True\n', '', 3)
    server.wait_received(200)
    assert [record['n'] for record in server.records()] == list(range(200))


def test_after_the_end_nothing_is_taken(server: FluentServer) -> None:
    program = "td.open(print); td.log('events', {}); print(td.close(), td.log('events', {}))"
    assert script(LOG + program, server.environment).stdout == 'sent 1\n0 False\n'


def test_a_fork_has_a_connection_of_its_own(server: FluentServer) -> None:
    ended = script(LOG + FORK, server.environment)
    assert (ended.stderr, ended.returncode) == ('', 0)
    server.wait_received(3)
    by_number = {record['n']: record['pid'] for record in server.records()}
    assert by_number.keys() == {0, 1, 2}
    assert by_number[0] == by_number[2] != by_number[1]
    assert server.connections == 2


def test_off_it_loads_nothing_starts_nothing_and_checks_all_the_same() -> None:
    off, loaded, threads, fault = script(LOG + OFF, {}).stdout.splitlines()
    assert (off, loaded, threads) == ('False 0', '[]', '1')
    assert fault.startswith("field 'time': ")


def test_the_example_sends_its_events(server: FluentServer) -> None:
    def example(**variables: str) -> subprocess.CompletedProcess[str]:
        program = "import runpy; runpy.run_module('examples.td', run_name='__main__')"
        return script(program, variables)

    sent = example(**server.environment)
    assert (sent.returncode, sent.stderr) == (0, '')
    assert sent.stdout == f'3 events of 3 sent to tests_db.page_views by 127.0.0.1:{server.port}\n'
    server.wait_received(3)
    pages = [record['page'] for record in server.records('page_views')]
    assert pages == ['/', '/cart', '/checkout']

    off = example()
    assert (off.returncode, off.stdout) == (1, '')
    assert off.stderr == 'event logs are off: set FLUENT_HOST and TD_DATABASE\n'

    port = str(free_port())
    gone = example(**server.environment | {'FLUENT_PORT': port})
    assert gone.returncode == 1
    assert gone.stdout.startswith('0 events of 3 sent')
    away, lost, *_ = gone.stderr.splitlines()
    assert f'event log server 127.0.0.1:{port} is unavailable' in away
    assert 'could not be sent: events=3' in lost
