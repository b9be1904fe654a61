from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from app.utils import unsupported
from be_queue import SettingError


@pytest.mark.parametrize(
    ('settings', 'fault'),
    [
        ({'worker_pool': 'solo'}, "CELERY_WORKER_POOL='solo': must be prefork"),
        ({'task_default_rate_limit': '6/m'}, "CELERY_TASK_DEFAULT_RATE_LIMIT='6/m'"),
    ],
)
def test_settings_that_this_worker_cannot_fulfil_are_refused(
    settings: dict[str, str], fault: str
) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(settings)
    with pytest.raises(SettingError) as caught:
        unsupported.check(app)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ('options', 'limit', 'fault'),
    [
        ({'beat': True}, None, '-B: beat would close files'),
        ({'pool': 'solo'}, None, '-P: must be prefork'),
        ({}, '6/m', "task limited: rate_limit='6/m'"),
    ],
)
def test_a_worker_refuses_them_in_one_line(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], limit: str | None, fault: str
) -> None:
    app = Celery(set_as_current=False)

    @app.task(name='limited', rate_limit=limit, shared=False)
    def limited() -> None: ...

    app.finalize()
    with pytest.raises(SystemExit):
        unsupported._worker_starts(instance=SimpleNamespace(app=app), options=options)
    (line,) = capsys.readouterr().err.splitlines()
    assert f'cannot start: {fault}' in line
