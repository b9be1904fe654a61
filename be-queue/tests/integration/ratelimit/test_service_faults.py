"""A rate-limit service that fails: each question has an answer in time, and all else goes on."""

from __future__ import annotations

import pytest

from be_queue.testing.ports import free_port
from be_queue.worker.ratelimit.limiter import Fault
from tests.integration.ratelimit.asking import error_of, of_service
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.ratelimit_service import RateLimitService

#: Seconds; of the limiters that are to give up.
TIMEOUT = 1.0


@pytest.mark.parametrize(
    ('failure', 'fault'),
    [
        (faulty.no_answer, Fault.TIMEOUT),
        (faulty.reset, Fault.UNREACHABLE),
        (faulty.truncated, Fault.UNREACHABLE),
        (faulty.not_json, Fault.ABSURD),
        (says(500, b'Oops'), Fault.REFUSED),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_a_failure_is_an_error_and_then_it_goes_on(
    service: RateLimitService, failure: faulty.Fault, fault: Fault
) -> None:
    service.limit('mail', 40, 'DAY')
    limiter = of_service(service, timeout=TIMEOUT)
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
        handler.send_header('Location', '/login')
        handler.send_header('Content-Length', '0')
        handler.end_headers()

    service.limit('mail', 5, 'DAY')
    service.fail(redirect)
    error = error_of(of_service(service))
    assert error.fault is Fault.REFUSED
    assert '302' in str(error)


def test_a_proxy_of_the_environment_is_not_asked(
    service: RateLimitService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('http_proxy', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{free_port()}')
    service.limit('mail', 5, 'DAY')
    assert of_service(service).acquire(1).permits == 1
