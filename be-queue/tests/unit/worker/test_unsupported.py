from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery

from be_queue import SettingError
from be_queue.worker import unsupported


def test_another_pool_is_refused() -> None:
    app = Celery(set_as_current=False)
    app.conf.worker_pool = 'solo'
    with pytest.raises(SettingError, match="CELERY_WORKER_POOL='solo': must be prefork"):
        unsupported.check(app)


@pytest.mark.parametrize(
    ('option', 'limit', 'fault'),
    [
        ({'pool': 'solo'}, None, '-P: must be prefork'),
        ({}, '6/m', "task limited: rate_limit='6/m'"),
    ],
)
def test_a_worker_refuses_its_command_line_and_its_tasks_in_one_line(
    capsys: pytest.CaptureFixture[str], option: dict[str, str], limit: str | None, fault: str
) -> None:
    app = Celery(set_as_current=False)

    @app.task(name='limited', rate_limit=limit, shared=False)
    def limited() -> None: ...

    app.finalize()
    with pytest.raises(SystemExit):
        unsupported._worker_starts(instance=SimpleNamespace(app=app), options=option)
    (line,) = capsys.readouterr().err.splitlines()
    assert f'cannot start: {fault}' in line
