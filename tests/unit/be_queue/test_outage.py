from __future__ import annotations

import logging

from be_queue.outage import MAX_WAIT, Outage


def test_an_outage_is_two_lines_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    outage = Outage('the server')
    for _ in range(2000):
        assert 0 <= outage.failed(OSError('a://user:hush@host is gone')) <= MAX_WAIT
    outage.ended()
    outage.ended()
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith('the server is away, trying until it is back: OSError')
    assert caplog.messages[1].startswith('the server is back: failures=2000')
    assert 'hush' not in caplog.text
