from __future__ import annotations

import pytest

from be_queue import NotSentError
from be_queue.transport import publishing
from be_queue.worker.celery_signals.lost_copies import LostCopies
from tests.integration.sending import Site, only, proxy, server, site
from tests.support.faulty import FaultySqs, status

__all__ = ['proxy', 'server', 'site']


def test_a_task_that_only_its_copy_reached_is_an_error_to_a_worker_too(
    site: Site, proxy: FaultySqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, 'copies', LostCopies())  # as in a worker
    proxy.fail('SendMessage', only(site.work, status(403, 'AccessDenied')))
    with pytest.raises(NotSentError, match='on purpose') as error:
        site.app(proxy.url).send_task('work')
    assert list(error.value.failed) == [site.work]
