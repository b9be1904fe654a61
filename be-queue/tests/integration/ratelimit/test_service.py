"""What a rate-limit service is asked, and what becomes of its answers.

The service is an HTTP server that speaks the protocol.
"""

from __future__ import annotations

import time

import pytest

from be_queue.testing.waiting import wait_until
from be_queue.worker.ratelimit.limiter import Fault
from be_queue.worker.ratelimit.service import FRESH_SECONDS
from tests.integration.ratelimit.asking import error_of, of_service, outlast, take_all
from tests.support.ratelimit_service import RateLimitService


@pytest.mark.parametrize('count', [1, 3, 7, 100])
def test_clients_side_by_side_use_a_window_up_and_no_more(
    service: RateLimitService, count: int
) -> None:
    service.counts_denied = False
    service.limit('mail', 40, 'DAY')
    limiters = [of_service(service) for _ in range(5)]
    assert take_all(limiters, count) == 40


@pytest.mark.parametrize('count', [1, 3, 7, 100])
def test_what_the_service_takes_for_a_refusal_is_never_granted_instead(
    service: RateLimitService, count: int
) -> None:
    service.limit('mail', 40, 'DAY')
    limiters = [of_service(service) for _ in range(5)]
    assert 0 < take_all(limiters, count) <= 40


@pytest.mark.parametrize('counts_denied', [True, False])
@pytest.mark.parametrize('count', [1, 3, 40, 100])
def test_a_client_alone_gets_all_of_a_window(
    service: RateLimitService, counts_denied: bool, count: int
) -> None:
    service.counts_denied = counts_denied
    service.limit('mail', 40, 'DAY')
    assert take_all([of_service(service)], count) == 40


def test_a_grant_holds_until_the_window_ends(service: RateLimitService) -> None:
    service.limit('mail', 40, 'MINUTE')
    grant = of_service(service).acquire(3)
    assert (grant.asked, grant.permits, grant.retry_in, grant.window) == (3, 3, 0.0, 60.0)
    assert 0 < grant.expires_in <= 60


def test_what_is_known_to_be_used_up_is_not_asked_for(service: RateLimitService) -> None:
    service.limit('mail', 3, 'DAY')
    limiter = of_service(service)
    take_all([limiter], 10)
    requests = service.requests['mail']
    for _ in range(10):
        grant = limiter.acquire(10)
        assert grant.permits == 0
        assert grant.asked == 0
        assert 0 < grant.retry_in <= grant.window == 86_400
    assert service.requests['mail'] == requests


def test_after_a_window_there_is_the_next(service: RateLimitService) -> None:
    service.limit('mail', 3, 'SECOND')
    limiter = of_service(service)
    for _ in range(2):
        grant = limiter.acquire(1)
        while grant.permits:
            grant = limiter.acquire(3)
        assert grant.permits == 0
        assert 0 < grant.retry_in <= 1
        outlast(grant)
    assert limiter.acquire(1).permits == 1


def test_all_that_was_left_is_granted_at_once(service: RateLimitService) -> None:
    service.limit('mail', 40, 'DAY')
    grant = of_service(service).acquire(100)
    assert (grant.asked, grant.permits) == (40, 40)
    assert grant.retry_in == grant.expires_in > 0
    # One to see what is left, and one for that.
    assert service.hits == [1, 39]


def test_of_a_window_that_others_may_have_used_no_more_than_one_hit_is_risked(
    service: RateLimitService,
) -> None:
    service.limit('mail', 10, 'DAY')
    limiter = of_service(service)
    limiter.acquire(1)
    stale = time.monotonic() + 2 * FRESH_SECONDS
    wait_until(lambda: time.monotonic() > stale, 'the answer is old')
    del service.hits[:]
    assert limiter.acquire(8).permits == 8
    assert service.hits == [1, 7]


def test_of_the_next_window_no_more_than_one_hit_is_risked_for_much_of_it(
    service: RateLimitService,
) -> None:
    service.limit('mail', 100, 'SECOND')
    limiter = of_service(service)
    outlast(limiter.acquire(1000))
    del service.hits[:]
    assert limiter.acquire(60).permits == 60
    assert service.hits == [1, 59]


def test_a_small_part_of_what_was_left_is_asked_for_at_once(service: RateLimitService) -> None:
    service.limit('mail', 100, 'DAY')
    limiter = of_service(service)
    limiter.acquire(1)
    del service.hits[:]
    assert [limiter.acquire(10).permits for _ in range(3)] == [10, 10, 10]
    assert service.hits == [10, 10, 10]


def test_a_request_that_others_came_before_is_made_again_with_care(
    service: RateLimitService,
) -> None:
    service.counts_denied = False
    service.limit('mail', 100, 'DAY')
    late, early = of_service(service), of_service(service)
    late.acquire(1)
    assert take_all([early], 100) == 99
    service.limits['mail'].amount = 105
    grant = late.acquire(10)
    assert (grant.asked, grant.permits, grant.retry_in) == (10, 0, 0.0)
    del service.hits[:]
    assert late.acquire(10).permits == 5
    assert service.hits == [1, 4]


def test_a_limit_that_is_lowered_holds_at_once(service: RateLimitService) -> None:
    service.limit('mail', 100, 'DAY')
    limiter = of_service(service)
    assert limiter.acquire(10).permits == 10
    service.limits['mail'].amount = 15
    assert take_all([limiter], 10) <= 5


def test_unlimited_grants_what_is_asked_for(service: RateLimitService) -> None:
    service.limit('mail', None)
    limiter = of_service(service)
    for _ in range(3):
        grant = limiter.acquire(100)
        assert (grant.permits, grant.retry_in) == (100, 0.0)
        assert grant.expires_in > 0


def test_an_unknown_name_is_an_error_of_its_own(service: RateLimitService) -> None:
    limiter = of_service(service)
    assert error_of(limiter).fault is Fault.UNKNOWN_NAME
    service.limit('mail', 5, 'DAY')
    assert limiter.acquire(1).permits == 1
