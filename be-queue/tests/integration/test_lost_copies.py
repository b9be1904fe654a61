"""Copies that SQS refuses where a worker sends: real requests, refused by a proxy."""

from __future__ import annotations

import pytest

from be_queue import NotSentError
from be_queue.transport import publishing
from be_queue.worker.celery_signals.lost_copies import LostCopies
from tests.integration.sending import Site, only, proxy, server, site
from tests.support.faulty import FaultySqs, status

__all__ = ['proxy', 'server', 'site']

REFUSED = status(403, 'AccessDenied')


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process send as a worker does."""
    monkeypatch.setattr(publishing, 'copies', LostCopies())


def test_lost_copies_are_logged_once_and_once_when_it_is_over(
    site: Site, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    app = site.app(proxy.url)
    proxy.fail('SendMessage', only(site.platform, REFUSED))
    for n in range(3):
        app.send_task('work', (n,))
    proxy.repair()
    for n in range(2):
        app.send_task('work', (n,))
    lost, again = (message for message in caplog.messages if f'queue {site.platform}' in message)
    assert 'takes no copies' in lost
    assert 'on purpose: check SQS_ENDPOINT_URL' in lost
    assert again == f'queue {site.platform} takes copies again: lost=3'
    assert site.args(site.work) == [[0], [1], [2], [0], [1]]
    assert site.args(site.platform) == [[0], [1]]

    # A task that only its copy reached is an error to a worker too.
    proxy.fail('SendMessage', only(site.work, REFUSED))
    with pytest.raises(NotSentError, match='on purpose') as error:
        app.send_task('work')
    assert list(error.value.failed) == [site.work]
