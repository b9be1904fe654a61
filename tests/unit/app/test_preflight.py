from __future__ import annotations

from pathlib import Path

import pytest

from app.preflight import listen, prepare_metrics_directory
from app.start_error import StartError

EARLIER = """
counter_7-0.db gauge_livemostrecent_7.db
worker.json worker.17
"""


def test_nothing_of_an_earlier_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PROMETHEUS_MULTIPROC_DIR', '')
    for name in EARLIER.split():
        (tmp_path / name).touch()
    (tmp_path / 'somebody-elses.txt').touch()
    prepare_metrics_directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['somebody-elses.txt']


def test_a_metrics_directory_that_cannot_be_written_is_told() -> None:
    with pytest.raises(StartError, match='cannot write to the metrics directory /proc/metrics: '):
        prepare_metrics_directory(Path('/proc/metrics'))


@pytest.mark.parametrize('host', ['', '127.0.0.1', 'localhost', '0.0.0.0'])
def test_hosts_that_are_here_are_listened_on(host: str) -> None:
    with listen(host, 0) as listening:
        assert listening.getsockname()[1]


def test_a_port_that_is_used_is_told() -> None:
    with listen('127.0.0.1', 0) as taken, pytest.raises(StartError) as caught:
        listen('127.0.0.1', taken.getsockname()[1])
    assert ': Address already in use: stop what uses the port' in str(caught.value)


@pytest.mark.parametrize('host', ['192.0.2.1', 'no-such-host.invalid'])
def test_a_host_that_is_not_here_is_told(host: str) -> None:
    with pytest.raises(StartError) as caught:
        listen(host, 0)
    assert str(caught.value).startswith(f'cannot listen on {host}:0: ')
    assert str(caught.value).endswith(': check SERVER_HOST')
    assert 'Unknown error' not in str(caught.value)
