"""The requests to a rate-limit service, its answers and its faults."""

from __future__ import annotations

import pytest

from be_queue.worker.ratelimit import Fault
from tests.integration.ratelimit.conftest import Clock, error_of, of_service
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.ratelimit_service import RateLimitService


def test_of_what_others_may_have_used_no_more_than_one_hit_is_risked_for_much_of_it(
    service: RateLimitService, clock: Clock
) -> None:
    service.limit('mail', 100, 'MINUTE')
    limiter = of_service(service)
    assert [limiter.acquire(count).permits for count in (20, 20, 50, 90)] == [20, 20, 50, 10]
    assert service.hits == [1, 19, 20, 1, 49, 1, 9]
    clock.next_window(60)
    del service.hits[:]
    assert [limiter.acquire(count).permits for count in (20, 60)] == [20, 60]
    assert service.hits == [20, 1, 59]


def test_a_request_that_others_came_before_is_made_again_with_care(
    service: RateLimitService,
) -> None:
    service.counts_denied = False
    service.limit('mail', 100, 'DAY')
    limiter = of_service(service)
    limiter.acquire(1)
    # Others use it up, all but five.
    service.limits['mail'].amount = 6
    grant = limiter.acquire(10)
    assert (grant.permits, grant.is_used_up) == (0, False)
    del service.hits[:]
    assert limiter.acquire(10).permits == 5
    assert service.hits == [1, 4]


def test_unlimited_grants_what_is_asked_for(service: RateLimitService) -> None:
    service.limit('mail', None)
    grant = of_service(service).acquire(100)
    assert (grant.permits, grant.is_used_up) == (100, False)
    assert grant.ends_in > 0


@pytest.mark.parametrize(
    ('failure', 'fault'),
    [
        (faulty.no_answer, Fault.TIMEOUT),
        (faulty.reset, Fault.UNREACHABLE),
        (faulty.truncated, Fault.UNREACHABLE),
        (faulty.not_json, Fault.ABSURD),
        (says(500, b'Oops'), Fault.REFUSED),
        (says(200, b'{"overallCode": "OK", "statuses": [{"code": "OK"}]}'), Fault.UNKNOWN_NAME),
    ],
)
def test_a_failure_is_an_error_and_then_it_goes_on(
    service: RateLimitService, failure: faulty.Fault, fault: Fault
) -> None:
    service.limit('mail', 40, 'DAY')
    limiter = of_service(service, timeout=1.0)
    assert limiter.acquire(1).permits == 1
    service.fail(failure)
    for _ in range(2):
        assert error_of(limiter).fault is fault
    service.repair()
    assert limiter.acquire(1).permits == 1


def test_nobody_listens(service: RateLimitService) -> None:
    service.server_close()
    assert error_of(of_service(service)).fault is Fault.UNREACHABLE


def test_a_redirect_is_not_followed(service: RateLimitService) -> None:
    def redirect(handler: faulty.Handler) -> None:
        handler.send_response(302)
        handler.send_header('Location', '/json')
        handler.send_header('Content-Length', '0')
        handler.end_headers()

    service.fail(redirect)
    assert error_of(of_service(service)).fault is Fault.REFUSED
    assert len(service.hits) == 1
