from __future__ import annotations

import mmap
import subprocess
import sys
import threading

import pytest

from app.utils.vault.shared import WORDS_SIZE, DatabaseLogin, SharedLogin
from tests.support.process import ROOT

FORK = """
import os
from app.utils.vault.shared import SharedLogin

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


def test_there_is_none_before_the_first():
    shared = SharedLogin()
    assert shared.read() is None
    assert not shared.is_refused


def test_the_latest_is_read():
    shared = SharedLogin()
    shared.write('a', 'first')
    shared.write('b', 'second')
    assert shared.read() == DatabaseLogin(2, 'b', 'second')


def test_no_representation_shows_the_password():
    assert 'hush' not in repr(SharedLogin().write('a', 'hush'))


def test_a_process_that_was_forked_before_reads_it_and_can_refuse_it():
    ended = subprocess.run(
        [sys.executable, '-c', FORK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == '2 after p\u00e4ss True\n'


def test_only_the_latest_can_be_refused():
    shared = SharedLogin()
    first = shared.write('a', 'first')
    shared.refuse(first)
    assert shared.is_refused
    shared.write('b', 'second')
    assert not shared.is_refused
    shared.refuse(first)
    assert not shared.is_refused


def test_name_and_password_belong_together_however_fast_they_change():
    shared = SharedLogin()
    shared.write('0', '0' * 100)
    done = threading.Event()

    def write() -> None:
        for number in range(3000):
            shared.write(str(number), str(number) * 100)
        done.set()

    thread = threading.Thread(target=write)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        seen = []
        while not done.is_set():
            login = shared.read()
            seen.append(login.number)
            assert login.password == login.user * 100
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert seen == sorted(seen)


class StoppedError(Exception):
    """The writer has ended in the middle."""


class HalfWritten(mmap.mmap):
    """Memory whose writer ends in the middle of a login."""

    def __setitem__(self, key, value):
        half = len(value) // 2
        super().__setitem__(slice(key.start, key.start + half), value[:half])
        raise StoppedError


def test_one_that_is_half_written_is_not_read():
    shared = SharedLogin()
    shared.write('a', 'first')
    shared.write('b', 'second')
    memory = HalfWritten(-1, len(shared._memory))
    memory.write(shared._memory[:])
    shared._memory = memory
    with pytest.raises(StoppedError):
        shared.write('c', 'third')
    assert shared.read() == DatabaseLogin(2, 'b', 'second')


def test_one_that_is_not_whole_is_none():
    shared = SharedLogin()
    shared.write('a', 'password')
    start = shared._memory.find(b'password')
    shared._memory[start : start + 1] = b'P'
    assert shared.read() is None


def test_what_the_database_says_is_kept_for_the_latest_login_and_cut():
    shared = SharedLogin()
    assert shared.words == ''
    first = shared.write('a', 'first')
    shared.refuse(first, 'FATAL: ' + 'é' * 1000)
    assert shared.words.startswith('FATAL: é')
    assert len(shared.words.encode()) <= WORDS_SIZE
    shared.write('b', 'second')
    assert shared.words == ''
