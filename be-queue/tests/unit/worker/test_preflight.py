from __future__ import annotations

from pathlib import Path

import pytest

from be_queue.worker.preflight import listen, prepare_metrics_directory
from be_queue.worker.start_error import StartError

EARLIER = 'counter_7-0.db gauge_livemostrecent_7.db worker.json worker.17'


def test_nothing_of_an_earlier_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PROMETHEUS_MULTIPROC_DIR', '')
    for name in (*EARLIER.split(), 'somebody-elses.txt'):
        (tmp_path / name).touch()
    prepare_metrics_directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['somebody-elses.txt']


def test_a_metrics_directory_that_cannot_be_written_is_told() -> None:
    with pytest.raises(StartError, match='cannot write to the metrics directory /proc/metrics: '):
        prepare_metrics_directory(Path('/proc/metrics'))


def test_an_address_that_cannot_be_had_is_told() -> None:
    with listen('localhost', 0) as taken, pytest.raises(StartError) as caught:
        listen('127.0.0.1', taken.getsockname()[1])
    assert ': Address already in use: set SERVER_HOST or SERVER_PORT' in str(caught.value)
    for host in ('192.0.2.1', 'no-such-host.invalid'):
        with pytest.raises(StartError, match=f'cannot listen on {host}:0: '):
            listen(host, 0)
