from __future__ import annotations

import threading
import time

from app.web.checks import TIMEOUT_SECONDS, Check, faults
from tests.support.waiting import wait_until


def test_a_probe_that_returns_is_no_fault():
    assert faults([Check('a', lambda: 1)]) == {'a': None}


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


def test_hanging_probes_hold_nobody_up_and_are_not_started_twice():
    release = threading.Event()
    started = []

    def probe() -> None:
        started.append(1)
        release.wait()

    checks = [Check('a', probe), Check('b', probe), Check('c', lambda: None)]
    before = time.monotonic()
    for _ in range(2):
        found = faults(checks)
        assert found['a'].startswith('no answer for')
        assert found['b'].startswith('no answer for')
        assert found['c'] is None
    # Both share one deadline: had each waited for itself, it would be four times that.
    assert time.monotonic() - before < 3 * TIMEOUT_SECONDS
    assert len(started) == 2
    release.set()


def test_a_fresh_outcome_is_used_again():
    count = []
    check = Check('a', lambda: count.append(1))
    faults([check])
    faults([check])
    assert len(count) == 1
