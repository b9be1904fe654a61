"""A rate-limit service that fails: each question has an answer in time, and all else goes on."""

from __future__ import annotations

import pytest
from kombu.asynchronous.http import Request

from app.utils.ratelimit.limiter import Fault, Grant
from app.utils.ratelimit.protocol import question
from be_queue.transport.clients import http
from tests.integration.ratelimit.asking import Asking
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.ports import free_port
from tests.support.ratelimit_service import RateLimitService, drip, running_service

#: Seconds; of the limiters that are to give up.
TIMEOUT = 1.0


@pytest.mark.parametrize(
    ('failure', 'fault'),
    [
        (faulty.no_answer, Fault.TIMEOUT),
        (drip, Fault.TIMEOUT),
        (faulty.reset, Fault.UNREACHABLE),
        (faulty.truncated, Fault.UNREACHABLE),
        (faulty.not_json, Fault.ABSURD),
        (says(200, b''), Fault.ABSURD),
        (says(200, b'{"overallCode": "OK", "statuses": [{"limitRemaining": -1}]}'), Fault.ABSURD),
        (says(429, b'Slow down'), Fault.ABSURD),
        (says(500, b'Oops'), Fault.REFUSED),
        (says(404, b'404 page not found'), Fault.REFUSED),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_a_failure_is_an_error_and_then_it_goes_on(
    asking: Asking, service: RateLimitService, failure: faulty.Fault, fault: Fault
) -> None:
    service.limit('mail', 40, 'DAY')
    limiter = asking.service(service, timeout=TIMEOUT)
    assert asking.ask(limiter).permits == 1
    service.fail(failure)
    for _ in range(3):
        assert asking.error(limiter).fault is fault
    service.mend()
    assert asking.ask(limiter).permits == 1


@pytest.mark.parametrize('failure', [faulty.no_answer, drip], ids=lambda f: f.__name__)
def test_while_the_service_hangs_the_event_loop_goes_on(
    asking: Asking, service: RateLimitService, failure: faulty.Fault
) -> None:
    service.limit('mail', 5, 'DAY')
    limiter = asking.service(service, timeout=TIMEOUT)
    service.fail(failure)
    asking.assert_goes_on(limiter, TIMEOUT)


def test_while_the_service_hangs_for_one_queue_it_answers_for_others(
    asking: Asking, service: RateLimitService
) -> None:
    service.fail(faulty.no_answer)
    errors: list[Exception] = []
    hanging = [asking.service(service, f'q{number}') for number in range(10)]
    for limiter in hanging:
        limiter.ask(1, errors.append, errors.append)
    asking.run_until(lambda: len(service.hits) == len(hanging), 'all are asked')
    service.fault = None
    service.limit('mail', 5, 'DAY')
    assert asking.ask(asking.service(service)).permits == 1
    assert not errors


def test_requests_to_sqs_that_hang_keep_none_from_the_service(
    asking: Asking, service: RateLimitService
) -> None:
    service.limit('mail', 5, 'DAY')
    with running_service() as sqs:
        sqs.fail(faulty.no_answer)
        client = http.client_of(asking.hub)
        for _ in range(http.MAX_REQUESTS):
            client.add_request(
                Request(
                    f'http://127.0.0.1:{sqs.port}/json',
                    method='POST',
                    body=question('', '', 1),
                    on_prepare=lambda curl: http.limit(curl, connect=60, total=60),
                )
            )
        asking.run_until(lambda: len(sqs.hits) == http.MAX_REQUESTS, 'all of them wait')
        assert asking.ask(asking.service(service)).permits == 1


def test_nobody_listens(asking: Asking, service: RateLimitService) -> None:
    service.server_close()
    assert asking.error(asking.service(service)).fault is Fault.UNREACHABLE


def test_a_redirect_is_not_followed(asking: Asking, service: RateLimitService) -> None:
    def redirect(handler: faulty.Handler) -> None:
        handler.send_response(302)
        handler.send_header('Location', '/login')
        handler.send_header('Content-Length', '0')
        handler.end_headers()

    service.limit('mail', 5, 'DAY')
    service.fail(redirect)
    error = asking.error(asking.service(service))
    assert error.fault is Fault.REFUSED
    assert '302' in str(error)


def test_a_proxy_of_the_environment_is_not_asked(
    asking: Asking, service: RateLimitService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('http_proxy', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{free_port()}')
    service.limit('mail', 5, 'DAY')
    assert isinstance(asking.ask(asking.service(service)), Grant)
