from __future__ import annotations

from be_queue.worker.vault.shared_login import DatabaseLogin, SharedLogin


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
