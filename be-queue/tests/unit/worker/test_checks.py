from __future__ import annotations

import threading

from be_queue.testing.waiting import wait_until
from be_queue.worker.web import checks
from be_queue.worker.web.checks import TIMEOUT_SECONDS, Check, faults


def test_a_fault_is_the_words_of_the_cause_also_while_the_next_probe_hangs():
    release = threading.Event()

    def probe() -> None:
        started.append(1)
        if len(started) > 1:
            release.wait()
        raise RuntimeError('failed to ask') from OSError('gone\nfor good')

    started = []
    check = Check('a', probe)
    wait_until(lambda: faults([check]) == {'a': 'OSError: gone for good'}, 'it is said')
    wait_until(lambda: faults([check]) and len(started) > 1, 'the next probe hangs')
    assert faults([check]) == {'a': 'OSError: gone for good'}
    release.set()


def test_a_server_that_was_well_is_so_until_it_has_not_answered_for_a_while(monkeypatch):
    monkeypatch.setattr(checks, 'FRESH_SECONDS', 0)
    release, started = threading.Event(), []

    def probe() -> None:
        started.append(1)
        if len(started) > 1:
            release.wait()

    check = Check('a', probe)
    wait_until(lambda: faults([check]) == {'a': None}, 'it answers')
    # The second probe takes longer than the timeout, as on a busy machine.
    assert faults([check]) == {'a': None}
    assert len(started) == 2
    monkeypatch.setattr(checks, 'PATIENCE_SECONDS', TIMEOUT_SECONDS)
    assert faults([check])['a'].startswith('no answer for')
    release.set()
    wait_until(lambda: faults([check]) == {'a': None}, 'it answers again')
