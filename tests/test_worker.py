"""The tasks, run by a worker, with SQS and PostgreSQL."""

from __future__ import annotations

from be_queue.testing.site import Site


def test_add_and_a_task_that_is_retried(site: Site) -> None:
    producer = site.producer()
    with site.worker():
        assert producer.send_task('add', (2, 3)).get(timeout=60) == 5
        assert producer.send_task('slow', (0,)).get(timeout=60) == 0
