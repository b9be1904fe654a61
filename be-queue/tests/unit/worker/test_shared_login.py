from __future__ import annotations

import subprocess
import sys

from be_queue.worker.vault.shared_login import DatabaseLogin, SharedLogin
from tests.support.process import ROOT

FORK = """
import os
from be_queue.worker.vault.shared_login import SharedLogin

shared = SharedLogin()
heard, told = os.pipe(), os.pipe()
if os.fork() == 0:
    os.read(told[0], 1)
    login = shared.read()
    shared.refuse(login)
    os.write(heard[1], f'{login.number} {login.user} {login.password}'.encode())
    os._exit(0)
shared.write('before', 'x')
shared.write('after', 'p\\u00e4ss')
os.write(told[1], b'.')
print(os.read(heard[0], 100).decode(), shared.is_refused)
os.wait()
"""


def test_a_process_that_was_forked_before_reads_the_latest_and_can_refuse_it():
    ended = subprocess.run(
        [sys.executable, '-c', FORK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == '2 after p\u00e4ss True\n'


def test_only_the_latest_can_be_refused():
    shared = SharedLogin()
    assert shared.read() is None
    assert not shared.is_refused
    shared.write('a', 'first')
    first = shared.read()
    assert 'first' not in f'{first!r} {first}'
    shared.refuse(first)
    assert shared.is_refused
    shared.write('b', 'second')
    shared.refuse(first)
    assert not shared.is_refused


def test_a_login_that_is_being_written_is_not_read():
    shared = SharedLogin()
    shared.write('a', 'first')
    shared.write('b', 'second')
    before = shared._memory[:]
    shared.write('c', 'third')
    # Its number is written last.
    shared._memory[:8] = before[:8]
    assert shared.read() == DatabaseLogin(2, 'b', 'second')
