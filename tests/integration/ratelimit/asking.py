"""Limiters of this process, asked from a real event loop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from kombu.asynchronous import Hub
from limits import parse

from app.config.configuration import Config
from app.utils.ratelimit.keepers import Keepers
from app.utils.ratelimit.limiter import Fault, Grant, Limiter, LimiterError
from app.utils.ratelimit.plan import Keeper, Limit
from tests.support.loop import turn_until
from tests.support.ratelimit_service import DOMAIN, RateLimitService

__all__ = ['Asking', 'unused_name']

#: Seconds for which limiters wait, where no test is about that.
PATIENT = 10.0


def unused_name() -> str:
    """Return a name that no other test's limit has."""
    return f'limit-{uuid.uuid4().hex[:10]}'


class Asking:
    """An event loop, and limiters that are asked from it.

    Arguments:
        hub: the event loop.
        stack: its end closes what they share.
    """

    def __init__(self, hub: Hub, stack: ExitStack) -> None:
        self.hub = hub
        self._stack = stack

    def service(
        self, service: RateLimitService, name: str = 'mail', timeout: float = PATIENT
    ) -> Limiter:
        """Return a worker's limiter that asks the service."""
        url = f'http://127.0.0.1:{service.port}'
        config = Config(ratelimit_host=url, ratelimit_domain=DOMAIN, ratelimit_timeout=timeout)
        return self._limiter(config, Limit('q', Keeper.SERVICE, name))

    def redis(self, url: str, text: str, name: str, timeout: float = PATIENT) -> Limiter:
        """Return a worker's limiter that counts in Redis."""
        config = Config(ratelimit_redis_url=url, ratelimit_timeout=timeout)
        return self._limiter(config, Limit('q', Keeper.REDIS, name, parse(text)))

    def memory(self, *texts: str, name: str = 'mail') -> list[Limiter]:
        """Return limiters of one worker that count in its memory, under the same name."""
        limits = [
            Limit(f'q{number}', Keeper.MEMORY, name, parse(text))
            for number, text in enumerate(texts)
        ]
        return [*Keepers(Config(), limits, self.hub).limiters.values()]

    def _limiter(self, config: Config, limit: Limit) -> Limiter:
        keepers = self._stack.enter_context(closing(Keepers(config, [limit], self.hub)))
        return keepers.limiters[limit.queue]

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        """Turn the event loop until something holds."""
        turn_until(self.hub, condition, what)

    def outlast(self, grant: Grant) -> None:
        """Turn the event loop until there may be more."""
        until = time.monotonic() + grant.retry_in
        self.run_until(lambda: time.monotonic() >= until, 'time goes by')

    def together(self, limiters: Sequence[Limiter], count: int) -> list[Grant]:
        """Ask all at the same time; raise the first error."""
        answers: dict[int, Grant | LimiterError] = {}
        for number, limiter in enumerate(limiters):
            answer = partial(answers.__setitem__, number)
            limiter.ask(count, answer, answer)
        self.run_until(lambda: len(answers) == len(limiters), 'there are answers')
        for answered in answers.values():
            if isinstance(answered, LimiterError):
                raise answered
        return [answers[number] for number in range(len(limiters))]

    def ask(self, limiter: Limiter, count: int = 1) -> Grant:
        """Ask for permits; raise `LimiterError` if that is the answer."""
        (grant,) = self.together([limiter], count)
        return grant

    def error(self, limiter: Limiter, count: int = 1) -> LimiterError:
        """Ask for permits, and return the error that is the answer."""
        try:
            grant = self.ask(limiter, count)
        except LimiterError as error:
            return error
        raise AssertionError(f'no error: {grant}')

    def assert_goes_on(self, limiter: Limiter, timeout: float) -> None:
        """Check that timers come on time while the limiter gives up only after ``timeout`` s."""
        events: list[object] = []
        for seconds in (timeout / 3, 2 * timeout / 3, 100 * timeout):
            self.hub.call_later(seconds, events.append, seconds)
        limiter.ask(1, events.append, lambda error: events.append(error.fault))
        self.run_until(lambda: Fault.TIMEOUT in events, 'it gives up')
        assert events == [timeout / 3, 2 * timeout / 3, Fault.TIMEOUT]

    def take_all(self, limiters: Sequence[Limiter], count: int) -> int:
        """Ask side by side until all are told to wait; return the permits granted."""
        permits = 0
        while limiters:
            grants = self.together(limiters, count)
            permits += sum(grant.permits for grant in grants)
            limiters = [
                limiter
                for limiter, grant in zip(limiters, grants, strict=True)
                if not grant.retry_in
            ]
        return permits
