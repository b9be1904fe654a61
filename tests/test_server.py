"""The whole server: `python3 app/server.py`."""

from __future__ import annotations

from be_queue.testing.site import Server


def test_it_is_ready_and_stops_when_it_is_told(server: Server) -> None:
    assert server.get('/readyz')[0] == 200
    assert '_build_info' in server.get('/metrics')[1]
    server.process.terminate()
    assert server.wait_ended() == 0
