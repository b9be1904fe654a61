from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import termios
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.utils.logs.writing import LineHandler
from tests.support.waiting import wait_until

WRITERS = 6
LINES = 60
#: Many times what a pipe takes at once.
LENGTH = 30_000


@contextmanager
def child(work) -> Iterator[int]:
    """Run ``work`` in a forked process; wait for its end."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.waitpid(pid, 0)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        if _is_open(end):
            os.close(end)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def line(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({'msg': text})


def test_long_lines_of_many_processes_are_not_mixed(pipe) -> None:
    reader, writer = pipe
    handler = LineHandler(writer)  # before the fork, as the pool's processes have it

    def write(number: int) -> None:
        for count in range(LINES):
            size = LENGTH if count % 3 else 10
            handler.emit(line(json.dumps([number, count, chr(97 + number) * size])))

    children = [child(lambda number=number: write(number)) for number in range(WRITERS)]
    for each in children:
        each.__enter__()
    os.close(writer)
    received = b''.join(iter(lambda: os.read(reader, 4096), b''))
    for each in children:
        each.__exit__(None, None, None)
    lines = [json.loads(text) for text in received.decode().splitlines()]
    assert Counter(number for number, _, _ in lines) == dict.fromkeys(range(WRITERS), LINES)
    assert all(set(text) == {chr(97 + number)} for number, _, text in lines)


def test_the_pipe_is_free_again_after_a_line(pipe) -> None:
    reader, writer = pipe
    over, is_over = os.pipe()

    def write() -> None:
        os.close(is_over)
        LineHandler(writer).emit(line('x'))
        os.read(over, 1)

    with child(write):
        assert os.read(reader, 100) == b'x\n'
        wait_until(lambda: _is_free(writer), 'the lock is let go while the process lives')
        os.close(is_over)
    os.close(over)


def _is_free(writer: int) -> bool:
    try:
        fcntl.lockf(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def test_a_process_that_is_killed_while_it_writes_holds_up_nobody(pipe) -> None:
    reader, writer = pipe
    handler = LineHandler(writer)
    with child(lambda: handler.emit(line('x' * 10_000_000))) as pid:
        wait_until(lambda: _is_full(reader), 'the pipe is full')
        os.kill(pid, 9)
    os.set_blocking(reader, False)
    while True:
        try:
            os.read(reader, 65536)
        except BlockingIOError:
            break
    handler.emit(line('after'))
    assert os.read(reader, 100) == b'after\n'


def _is_full(reader: int) -> bool:
    (held,) = struct.unpack('i', fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))
    return held == fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)


def test_a_descriptor_that_does_not_block_gets_the_whole_line(pipe) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with child(lambda: LineHandler(writer).emit(line('x' * 1_000_000))):
        os.close(writer)
        received = b''.join(iter(lambda: os.read(reader, 65536), b''))
    assert received == b'x' * 1_000_000 + b'\n'


def test_nobody_who_reads_is_no_error(pipe, capsys) -> None:
    reader, writer = pipe
    os.close(reader)
    LineHandler(writer).emit(line('x'))
    assert capsys.readouterr().err == ''


def test_a_file_takes_any_text(tmp_path) -> None:
    with (tmp_path / 'log').open('wb') as file:
        LineHandler(file.fileno()).emit(line('\u00e4\udc80'))
    assert (tmp_path / 'log').read_bytes() == '\u00e4'.encode() + b'\\udc80\n'


class Broken(logging.Formatter):
    def __init__(self, *refused: str) -> None:
        super().__init__()
        self._refused = refused

    def format(self, record: logging.LogRecord) -> str:
        if record.msg in self._refused:
            raise OSError(record.args)
        return super().format(record)


@pytest.mark.parametrize('all_of_them', [False, True])
def test_a_line_that_cannot_be_shown_leaves_another_without_its_arguments(
    pipe, capsys, monkeypatch, all_of_them
) -> None:
    reader, writer = pipe
    handler = LineHandler(writer)
    handler.setFormatter(Broken('login with %s'))
    if all_of_them:
        monkeypatch.setattr(Broken, 'format', lambda *_: 1 // 0)
    record = logging.LogRecord('a', 30, 'app/x.py', 7, 'login with %s', ('horse',), None)
    handler.handle(record)
    error = 'ZeroDivisionError' if all_of_them else 'OSError'
    expected = f'a line of app/x.py:7 cannot be shown: {error}\n'
    assert os.read(reader, 1000).decode() == expected
    assert capsys.readouterr().err == ''
