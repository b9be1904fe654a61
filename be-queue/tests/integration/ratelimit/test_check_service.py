"""At the start the rate-limit service is asked whether it knows the names of the mapping."""

from __future__ import annotations

from typing import Any

import pytest

from app.config.configuration import Config
from be_queue import SettingError
from be_queue.worker.ratelimit import plan
from be_queue.worker.ratelimit.plan import check_service
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.ratelimit_service import DOMAIN, RateLimitService

NAMES = {'prod-mail': {'name': 'mail'}, 'prod-sms': {'name': 'sms'}}


@pytest.fixture
def config(service: RateLimitService) -> Config:
    host = f'127.0.0.1:{service.port}'
    return Config(ratelimit_host=host, ratelimit_domain=DOMAIN, ratelimit_failure_policy='closed')


def test_each_name_costs_one_permit_and_a_window_that_is_used_up_is_no_fault(
    service: RateLimitService, config: Config, caplog: Any
) -> None:
    service.limit('mail', 0, 'DAY')
    service.limit('sms', 5, 'DAY')
    check_service(config, {**NAMES, 'prod-post': {'name': 'mail'}, 'a': {'limit': '5/second'}})
    assert service.requests == {'mail': 1, 'sms': 1}
    assert service.hits == [1, 1]
    assert not caplog.records


def test_every_unknown_name_is_told_with_its_queues(
    service: RateLimitService, config: Config
) -> None:
    service.limit('mail', 5, 'DAY')
    with pytest.raises(SettingError) as caught:
        check_service(config, {**NAMES, 'prod-a': {'name': 'post'}, 'prod-b': {'name': 'post'}})
    for line, (queues, name) in zip(
        str(caught.value).splitlines(),
        [('prod-sms', 'sms'), ('prod-a, prod-b', 'post')],
        strict=True,
    ):
        assert line.startswith(
            f'queue {queues}: the rate-limit service has no limit {name!r} in the domain '
            f'{DOMAIN!r}: add the descriptor generic_key: {name} '
        )


@pytest.mark.parametrize(
    'failure', [faulty.no_answer, faulty.not_json, says(500, b'<html>\nOops\n'), None]
)
def test_a_service_that_fails_is_worth_one_warning(
    service: RateLimitService,
    config: Config,
    failure: faulty.Fault | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, 'START_TIMEOUT', 0.3)
    if failure is None:
        service.server_close()
    else:
        service.fail(failure)
    check_service(config, NAMES)
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    text = record.getMessage()
    assert text.startswith(f'the rate-limit service {config.ratelimit_url} gives no answer: ')
    assert text.endswith('RATELIMIT_FAILURE_POLICY=closed holds')
    assert '\n' not in text


def test_unknown_names_are_told_though_the_service_fails_then(
    service: RateLimitService, config: Config
) -> None:
    def once(handler: Any) -> None:
        service.fail(faulty.reset)
        handler.answer(200, b'{"overallCode": "OK", "statuses": [{"code": "OK"}]}')

    service.fail(once)
    with pytest.raises(SettingError, match='queue prod-mail: '):
        check_service(config, NAMES)
