"""At the start the rate-limit service is asked whether it knows the names of the mapping."""

from __future__ import annotations

from typing import Any

import pytest

from app.config.configuration import Config
from be_queue import SettingError
from be_queue.testing.waiting import wait_until
from be_queue.worker.ratelimit import check
from be_queue.worker.ratelimit.check import check_service
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.ratelimit_service import DOMAIN, RateLimitService

NAMES = {'prod-mail': {'name': 'mail'}, 'prod-sms': {'name': 'sms'}}


def config(service: RateLimitService, **settings: Any) -> Config:
    settings = {
        'ratelimit_host': f'127.0.0.1:{service.port}',
        'ratelimit_domain': DOMAIN,
        **settings,
    }
    return Config(**settings)


def test_each_name_costs_one_permit(service: RateLimitService, caplog: Any) -> None:
    for name in ('mail', 'sms'):
        service.limit(name, 5, 'DAY')
    check_service(config(service), {**NAMES, 'prod-post': {'name': 'mail', 'limit': '5/second'}})
    assert service.requests == {'mail': 1, 'sms': 1}
    assert service.hits == [1, 1]
    assert not caplog.records


def test_without_names_the_service_is_not_asked(service: RateLimitService) -> None:
    check_service(config(service), {'prod-mail': {'limit': '5/second'}})
    check_service(Config(), NAMES)
    assert not service.hits


def test_a_window_that_is_used_up_or_has_nothing_is_no_fault(
    service: RateLimitService, caplog: Any
) -> None:
    service.limit('mail', 0, 'DAY')
    service.limit('sms', None)
    check_service(config(service), NAMES)
    assert not caplog.records


def test_every_unknown_name_is_told_with_its_queues(service: RateLimitService) -> None:
    service.limit('mail', 5, 'DAY')
    ratelimits = {**NAMES, 'prod-post': {'name': 'post'}, 'prod-letters': {'name': 'post'}}
    with pytest.raises(SettingError) as caught:
        check_service(config(service), ratelimits)
    lines = str(caught.value).splitlines()
    told = [('sms', 'sms'), ('post', 'post'), ('letters', 'post')]
    assert len(lines) == len(told)
    for line, (queue, name) in zip(lines, told, strict=True):
        assert line.startswith(
            f'queue prod-{queue}: the rate-limit service has no limit {name!r} in the domain '
            f'{DOMAIN!r}: add the descriptor generic_key: {name} '
        )
    assert service.requests['post'] == 1


def the_warning(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    text = record.getMessage()
    assert text.startswith('the rate-limit service http://')
    assert 'gives no answer for queue prod-mail: ' in text
    assert 'check RATELIMIT_HOST' in text
    assert '\n' not in text
    return text


@pytest.mark.parametrize(
    'failure', [faulty.no_answer, faulty.not_json, says(500, b'<html>\nOops\n')]
)
def test_a_service_that_fails_is_worth_one_warning(
    service: RateLimitService,
    failure: faulty.Fault,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, 'TIMEOUT', 0.3)
    service.fail(failure)
    check_service(config(service), NAMES)
    the_warning(caplog)
    wait_until(lambda: service.hits, 'the service has read the request')
    assert len(service.hits) == 1


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a..b'])
def test_a_host_that_does_not_exist_is_worth_one_warning(
    host: str, service: RateLimitService, caplog: pytest.LogCaptureFixture
) -> None:
    check_service(config(service, ratelimit_host=host), NAMES)
    the_warning(caplog)


@pytest.mark.parametrize(
    ('policy', 'effect'), [('open', 'have none'), ('closed', 'are not polled')]
)
def test_the_warning_says_what_holds_meanwhile(
    policy: Any, effect: str, service: RateLimitService, caplog: pytest.LogCaptureFixture
) -> None:
    service.server_close()
    check_service(config(service, ratelimit_failure_policy=policy), NAMES)
    text = f'queues with a limit {effect} (RATELIMIT_FAILURE_POLICY={policy})'
    assert the_warning(caplog).endswith(text)


def test_unknown_names_are_told_though_the_service_fails_then(service: RateLimitService) -> None:
    def once(handler: Any) -> None:
        service.fail(faulty.reset)
        handler.answer(200, b'{"overallCode": "OK", "statuses": [{"code": "OK"}]}')

    service.fail(once)
    with pytest.raises(SettingError, match='queue prod-mail: '):
        check_service(config(service), NAMES)
