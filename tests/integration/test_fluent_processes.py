"""Event logs of processes that are none of the worker's: scripts, forks, ends of all kinds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.fluent_server import FluentServer, running_fluent
from tests.support.ports import free_port
from tests.support.process import NO_DOTENV, ROOT

#: Runs a command as root of a network of its own, in which the one name server never answers.
HANGING_DNS = """
import fcntl, os, pathlib, socket, struct, subprocess, sys
folder = pathlib.Path(sys.argv[1])
(folder / 'resolv.conf').write_text('nameserver 127.0.0.1\\noptions timeout:30\\n')
subprocess.run(['mount', '--bind', folder / 'resolv.conf', '/etc/resolv.conf'], check=True)
control = socket.socket()
fcntl.ioctl(control, 0x8914, struct.pack('16sh22x', b'lo', 1))  # SIOCSIFFLAGS: up
name_server = socket.socket(type=socket.SOCK_DGRAM)
name_server.bind(('127.0.0.1', 53))
ended = subprocess.run(sys.argv[2:])
name_server.setblocking(False)
print('asked', b'example' in name_server.recv(512))
sys.exit(ended.returncode)
"""


@pytest.fixture
def server() -> Iterator[FluentServer]:
    with running_fluent() as server:
        yield server


def script(
    text: str, variables: Mapping[str, str], wrap: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run(
        [*wrap, sys.executable, '-W', 'error', '-c', text],
        cwd=ROOT,
        env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', **NO_DOTENV, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


LOG = 'from app.utils.fluent import td\n'


def test_a_script_need_not_start_or_end_anything(server: FluentServer) -> None:
    ended = script(
        LOG + "print(all(td.log('events', {'n': n}) for n in range(200)))", server.environment
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ('True\n', '', 0)
    server.wait_received(200)
    assert [record['n'] for record in server.records()] == list(range(200))


def test_a_script_that_fails_sends_what_it_has_logged(server: FluentServer) -> None:
    ended = script(LOG + "td.log('events', {'n': 1}); raise SystemExit(3)", server.environment)
    assert ended.returncode == 3
    server.wait_received(1)


def test_a_script_ends_without_its_server(server: FluentServer) -> None:
    gone = server.environment | {'FLUENT_PORT': str(free_port())}
    ended = script(LOG + "[td.log('events', {'n': n}) for n in range(7)]", gone)
    assert ended.returncode == 0
    away, lost = ended.stderr.splitlines()
    assert f'event log server 127.0.0.1:{gone["FLUENT_PORT"]} is away' in away
    assert 'could not be sent: events=7' in lost


def test_after_the_end_nothing_is_taken_until_it_is_opened_again(server: FluentServer) -> None:
    program = LOG + "import threading; td.close(); print(td.log('events', {}))\n"
    ended = script(program + 'print(threading.active_count())', server.environment)
    assert ended.stdout == 'False\n1\n'
    program = LOG + "td.log('events', {}); print(td.close(), td.log('events', {}), td.close())"
    assert script(program, server.environment).stdout == '0 False 0\n'
    program = LOG + "td.close(); td.open(print); print(td.log('events', {})); td.close()"
    assert script(program, server.environment).stdout == 'True\nsent 1\n'


def test_a_fork_has_a_connection_of_its_own(server: FluentServer) -> None:
    program = LOG + (
        'import os, sys, threading, warnings\n'
        "warnings.simplefilter('ignore', DeprecationWarning)  # a fork beside a thread\n"
        "td.log('events', {'n': 0, 'pid': os.getpid()})\n"
        'while td._sender.socket is None: pass\n'
        'held, done = threading.Event(), threading.Event()\n'
        'def hold():\n'
        '    with td._lock, td._sender._state, td._sender.lock:\n'
        '        held.set()\n'
        '        done.wait()\n'
        'threading.Thread(target=hold).start()\n'
        'held.wait()\n'
        'pid = os.fork()\n'
        'if pid == 0:\n'
        "    td.log('events', {'n': 1, 'pid': os.getpid()})\n"
        '    sys.exit()\n'
        'os.waitpid(pid, 0)\n'
        'done.set()\n'
        "td.log('events', {'n': 2, 'pid': os.getpid()})\n"
    )
    ended = script(program, server.environment)
    assert (ended.stderr, ended.returncode) == ('', 0)
    server.wait_received(3)
    by_number = {record['n']: record['pid'] for record in server.records()}
    assert by_number.keys() == {0, 1, 2}
    assert by_number[0] == by_number[2] != by_number[1]
    assert server.connections == 2


def test_off_it_loads_nothing_starts_nothing_and_checks_all_the_same() -> None:
    program = LOG + (
        'import sys, threading\n'
        "print(td.log('events', {'n': 1}), td.close())\n"
        "print([name for name in ('fluent', 'prometheus_client') if name in sys.modules])\n"
        'print(threading.active_count())\n'
        "for table, fields in (('Events', {}), ('events', {'time': 1})):\n"
        '    try:\n'
        '        td.log(table, fields)\n'
        '    except ValueError as error:\n'
        '        print(error)\n'
    )
    off, loaded, threads, *faults = script(program, {}).stdout.splitlines()
    assert (off, loaded, threads) == ('False 0', '[]', '1')
    assert faults[0].startswith("table 'Events': must be 3 to 128")
    assert faults[1].startswith("field 'time': ")


def test_a_name_server_that_hangs_holds_nobody_up(server: FluentServer, tmp_path: Path) -> None:
    named = server.environment | {'FLUENT_HOST': 'fluent.example'}
    namespaces = ('unshare', '--map-root-user', '--mount', '--net')
    ended = script(
        LOG + "print([td.log('events', {'n': n}) for n in range(3)], td.close())",
        named,
        (*namespaces, sys.executable, '-c', HANGING_DNS, str(tmp_path)),
    )
    assert ended.stdout == '[True, True, True] 3\nasked True\n'
    assert 'could not be sent: events=3' in ended.stderr


def test_the_example_sends_its_events(server: FluentServer) -> None:
    def example(**variables: str) -> subprocess.CompletedProcess[str]:
        program = "import runpy; runpy.run_module('examples.td', run_name='__main__')"
        return script(program, variables)

    sent = example(**server.environment)
    assert (sent.returncode, sent.stderr) == (0, '')
    assert sent.stdout == f'3 events of 3 sent to tests_db.page_views by 127.0.0.1:{server.port}\n'
    server.wait_received(3)
    assert [record['page'] for record in server.records('page_views')] == [
        '/',
        '/cart',
        '/checkout',
    ]

    off = example()
    assert (off.returncode, off.stdout) == (1, '')
    assert off.stderr == 'event logs are off: set FLUENT_HOST and TD_DATABASE\n'
    wrong = example(FLUENT_HOST='fluent', TD_DATABASE='Shop')
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("TD_DATABASE='Shop': must be ")
    away = example(**server.environment | {'FLUENT_PORT': str(free_port())})
    assert away.returncode == 1
    assert away.stdout.startswith('0 events of 3 sent')


def test_the_example_counts_what_fell_out_of_its_buffer(server: FluentServer) -> None:
    gone = server.environment | {'FLUENT_PORT': str(free_port()), 'FLUENT_BUFFER': '4096'}
    ended = script(
        "import runpy, sys; sys.argv[1:] = ['--count', '1000']\n"
        "runpy.run_module('examples.td', run_name='__main__')",
        gone,
    )
    assert ended.returncode == 1
    assert ended.stdout.startswith('0 events of 1000 sent')
