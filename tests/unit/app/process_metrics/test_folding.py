"""What ended processes have counted goes on to count, in few files."""

from __future__ import annotations

import logging
import math
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from app.web.process_metrics import ProcessCollector
from tests.support.samples import samples
from tests.unit.app.process_metrics.conftest import Write, value

Ended = Callable[[], int]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_that_was_counted_is_there_afterwards(
    tmp_path: Path, collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    for number, pid in enumerate([*(ended() for _ in range(4)), os.getpid()]):
        write('counter', pid, {('c_total', 'a'): number, ('c_total', f'q{number}'): 1})
        buckets = {('h_bucket', le): number for le in ('0.1', '2.0', '+Inf')}
        write('histogram', pid, {**buckets, 'h_sum': number / 8})
        write('summary', pid, {'s_sum': number / 8, 's_count': number})
        for mode in ('min', 'max', 'sum', 'mostrecent'):
            write(f'gauge_{mode}', pid, {mode: number})
    before = samples(MultiProcessCollector(None, str(tmp_path)).collect())
    for _ in range(3):
        assert samples(collector.collect()) == before
    kinds = ['counter', 'histogram', 'summary']
    kinds += [f'gauge_{mode}' for mode in ('min', 'max', 'sum', 'mostrecent')]
    files = [f'{kind}.1.folded' for kind in kinds] + [f'{kind}_{os.getpid()}.db' for kind in kinds]
    assert names(tmp_path) == sorted(files)


def test_there_is_one_file_of_each_kind_however_many_processes_have_ended(
    tmp_path: Path, collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    for round_ in range(1, 4):
        for pid in (ended(), ended()):
            write('counter', pid, {'c_total': 1})
            write('histogram', pid, {('h_bucket', '+Inf'): 1, 'h_sum': 1})
        collector.fold()
        assert names(tmp_path) == [f'counter.{round_}.folded', f'histogram.{round_}.folded']
    assert value(collector, 'c_total') == value(collector, 'h_count') == 6


def test_live_gauges_end_with_their_process(
    tmp_path: Path, collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    pid = ended()
    for mode in ('all', 'liveall', 'livesum', 'livemostrecent'):
        write(f'gauge_{mode}', pid, {mode: 7})
        write(f'gauge_{mode}', os.getpid(), {mode: 1})
    found = samples(collector.collect())
    own = (('pid', str(os.getpid())),)
    assert found == {
        ('all', own): 1,
        ('liveall', own): 1,
        ('livesum', ()): 1,
        ('livemostrecent', ()): 1,
    }
    assert not [name for name in names(tmp_path) if str(pid) in name]


def test_a_sum_of_seconds_never_shrinks_by_rounding(
    collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    seconds = [0.1] * 10
    for each in seconds:
        write('histogram', ended(), {'h_sum': each})
        collector.fold()
    rounded_each_time = 0.0
    for each in seconds:
        rounded_each_time += each
    assert rounded_each_time != math.fsum(seconds), 'these seconds show nothing'
    assert value(collector, 'h_sum') == math.fsum(seconds)


def test_what_a_killed_folder_has_left_counts_once(
    tmp_path: Path, collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    for _ in range(2):
        write('counter', ended(), {'c_total': 1})
    collector.fold()
    folded = (tmp_path / 'counter.1.folded').read_bytes()
    (dead,) = {write('counter', ended(), {'c_total': 10})}
    source = dead.read_bytes()
    collector.fold()
    # Killed after the new file was there, before the old ones were gone; and while it wrote.
    (tmp_path / 'counter.1.folded').write_bytes(folded)
    (tmp_path / f'{dead.stem}.2.dead').write_bytes(source)
    (tmp_path / 'counter.3.draft').write_bytes(source[:10])
    assert value(collector, 'c_total') == 12
    assert names(tmp_path) == ['counter.2.folded']


def test_what_was_set_aside_and_not_folded_counts(
    tmp_path: Path, collector: ProcessCollector, write: Write, ended: Ended
) -> None:
    path = write('counter', ended(), {'c_total': 5})
    path.rename(path.with_suffix('.1.dead'))
    assert value(collector, 'c_total') == 5
    assert names(tmp_path) == ['counter.2.folded']


def test_a_file_goes_back_to_a_process_that_has_its_number_and_uses_it(
    tmp_path: Path, collector: ProcessCollector, write: Write
) -> None:
    path = write('counter', os.getpid(), {'c_total': 5})
    path.rename(path.with_suffix('.1.dead'))
    assert value(collector, 'c_total') == 5
    assert names(tmp_path) == [path.name]


def test_a_file_stays_aside_when_the_process_with_its_number_has_its_own(
    tmp_path: Path, collector: ProcessCollector, write: Write
) -> None:
    path = write('counter', os.getpid(), {'c_total': 5})
    path.rename(path.with_suffix('.1.dead'))
    write('counter', os.getpid(), {'c_total': 2})
    assert value(collector, 'c_total') == 7
    assert names(tmp_path) == ['counter.2.folded', path.name]


def test_a_file_that_is_there_under_both_names_counts_once(
    tmp_path: Path, collector: ProcessCollector, write: Write
) -> None:
    path = write('counter', os.getpid(), {'c_total': 5})
    os.link(path, path.with_suffix('.1.dead'))
    assert value(collector, 'c_total') == 5
    assert names(tmp_path) == [path.name]


def test_files_of_others_are_left_alone(
    tmp_path: Path, collector: ProcessCollector, write: Write
) -> None:
    write('counter', 1, {'c_total': 1}).rename(tmp_path / 'counter_uwsgi-1.db')
    for name in ('worker.json', 'notes.db', 'counter.txt'):
        (tmp_path / name).write_text('{}')
    before = names(tmp_path)
    assert value(collector, 'c_total') == 1
    assert names(tmp_path) == before


class TestWhatCannotBeRead:
    """One line in the log, and the rest goes on."""

    @pytest.fixture
    def logged(self, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
        caplog.set_level(logging.INFO)
        return lambda: [record.getMessage() for record in caplog.records]

    @pytest.mark.parametrize(
        ('position', 'content'),
        [
            # The second value's key is longer than the file, shorter than nothing, no text, no key.
            (0, (1 << 20).to_bytes(4, 'little')),
            (0, (-64).to_bytes(4, 'little', signed=True)),
            (4, b'\xff\xff'),
            (4, b'{}'),
        ],
        ids=['too long', 'below zero', 'not UTF-8', 'not a key'],
    )
    def test_a_file_of_an_ended_process_counts_up_to_the_fault(
        self,
        collector: ProcessCollector,
        write: Write,
        ended: Ended,
        logged: Callable[[], list[str]],
        position: int,
        content: bytes,
    ) -> None:
        write('counter', ended(), {'a_total': 1})
        broken = write('counter', ended(), {'a_total': 2, 'b_total': 3})
        data = bytearray(broken.read_bytes())
        start = data.index(b'["b"') - 4 + position
        data[start : start + len(content)] = content
        broken.write_bytes(data)
        for _ in range(3):
            assert value(collector, 'a_total') == 3
            assert value(collector, 'b_total') is None
        (line,) = logged()
        assert broken.stem in line

    def test_an_empty_file_of_a_living_process_is_one_in_the_making(
        self, tmp_path: Path, collector: ProcessCollector, logged: Callable[[], list[str]]
    ) -> None:
        (tmp_path / f'counter_{os.getpid()}.db').touch()
        assert collector.collect() == []
        assert logged() == []

    def test_a_full_disk_costs_no_count(
        self,
        tmp_path: Path,
        collector: ProcessCollector,
        write: Write,
        ended: Ended,
        logged: Callable[[], list[str]],
    ) -> None:
        for pid in (ended(), ended()):
            write('counter', pid, {'c_total': 1})
            write('histogram', pid, {'h_sum': 1})
        with no_file_grows():
            for _ in range(3):
                assert value(collector, 'c_total') == 2
        (line,) = logged()
        assert 'PROMETHEUS_MULTIPROC_DIR' in line
        assert value(collector, 'c_total') == 2
        assert value(collector, 'h_sum') == 2
        assert len(logged()) == 2
        assert len(names(tmp_path)) == 2


@contextmanager
def no_file_grows() -> Iterator[None]:
    """Have writes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
