from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.utils.metrics.shared_names import SharedNames
from tests.support.process import ROOT

#: Asks for names of its own, all at once with others like it; writes those that it got.
PROCESS = """
import sys
from pathlib import Path
from app.utils.metrics.shared_names import SharedNames
names = SharedNames(Path(sys.argv[1]), 5)
print('ready', flush=True)
sys.stdin.read()
own = [f'{sys.argv[2]}{number}' for number in range(5)]
print(*[name for name in own if names.admits(name)])
print(*[name for name in own if names.admits(name)])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'names'


def test_the_first_names_are_those_of_every_process(path: Path) -> None:
    one, other = SharedNames(path, 3), SharedNames(path, 3)
    assert one.admits('a')
    assert other.admits('b')
    assert other.admits('a')
    assert one.admits('c')
    assert not other.admits('d')
    assert not one.admits('d')
    assert all(one.admits(name) and other.admits(name) for name in 'abc')
    assert all(SharedNames(path, 3).admits(name) for name in 'cba')
    assert not SharedNames(path, 3).admits('d')


def test_processes_that_ask_at_once_agree(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', PROCESS, str(path), prefix],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for prefix in 'abc'
    ]
    for process in processes:
        assert process.stdout.readline() == 'ready\n'
    for process in processes:
        process.stdin.close()
    got: list[str] = []
    for process in processes:
        first, second = process.stdout.read().splitlines()
        assert first == second
        got += first.split()
        process.stdout.close()
        assert process.wait() == 0
    assert len(got) == 5
    assert all(SharedNames(path, 5).admits(name) for name in got)


def test_once_all_are_there_no_file_is_read(path: Path) -> None:
    names = SharedNames(path, 1)
    assert names.admits('a')
    path.unlink()
    assert names.admits('a')
    assert not names.admits('b')
    assert not path.exists()


def test_without_a_place_for_the_file_no_name_is_in(path: Path) -> None:
    names = SharedNames(path / 'missing' / 'names', 1)
    assert not names.admits('a')
    (path / 'missing').mkdir(parents=True)
    assert names.admits('a')


def test_what_a_killed_process_has_half_written_is_no_name(path: Path) -> None:
    path.write_bytes(b'a\0b')
    names = SharedNames(path, 3)
    assert not names.admits('b')  # what is appended now ends that one
    assert names.admits('a')
    assert names.admits('b')
    assert path.read_bytes() == b'a\0bb\0b\0'
