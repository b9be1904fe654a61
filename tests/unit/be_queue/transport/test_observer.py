from __future__ import annotations

import subprocess
import sys

from be_queue.transport.observer import Observer
from tests.support.worker import ROOT


def test_an_observer_need_not_take_note_of_anything() -> None:
    observer = Observer()
    observer.requested('ReceiveMessage', 'ok', 0.1)
    observer.received('queue', 3)
    observer.receive_failed('queue')
    observer.deleted('queue', 2, [0.1])
    observer.extended('queue', 1, 1)
    observer.released('queue', 1)


def test_the_library_has_nothing_to_do_with_prometheus() -> None:
    program = (
        'import sys, be_queue.transport, be_queue.worker\n'
        'print("prometheus_client" in sys.modules, "be_queue.transport" in sys.modules)'
    )
    shown = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert shown.split() == ['False', 'True']
