"""The web server's process, and what it starts and stops."""

from __future__ import annotations

import signal
from pathlib import Path

from be_queue.testing.sqs import SqsServer
from tests.support.web import Site


# Not with SIGQUIT: gunicorn's handler deadlocks when it interrupts the accepting of a request.
def test_integrations_start_and_end_with_the_process_that_serves(
    sqs: SqsServer, tmp_path: Path
) -> None:
    results = {'CELERY_RESULT_BACKEND': f'db+sqlite:///{tmp_path}/results.sqlite'}
    site, notes = Site(sqs.url, results, tmp_path), tmp_path / 'notes'
    with site.server('tests.support.recorded_web:create_app()', NOTES=str(notes)) as program:
        site.get('/metrics')
        started = notes.read_text()
        pid = started.split()[-1]
        assert started == f'start web {pid}\n'
        assert int(pid) != program.process.pid
        program.ends(signal.SIGTERM)
        assert notes.read_text() == f'{started}stop {pid}\n'
