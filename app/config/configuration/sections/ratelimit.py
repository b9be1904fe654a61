"""Rate limits of queues: app/utils/ratelimit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.config.configuration import addresses

__all__ = ['RatelimitSettings']


class RatelimitSettings(BaseSettings):
    """Where the limits are kept, and what holds while nobody answers there."""

    #: ``host:port`` or URL of the service that keeps rate limits, and its domain for ours.
    ratelimit_host: str | None = None
    ratelimit_domain: str | None = None
    #: Where limits written in the mapping are kept for all workers together; else by each alone.
    ratelimit_redis_url: Annotated[str | None, Field(repr=False)] = None
    #: Seconds for a request to the service or to Redis.
    ratelimit_timeout: Annotated[float, Field(ge=0.01, le=10)] = 0.1
    #: While neither answers, queues have no limit (open) or are not polled (closed).
    ratelimit_failure_policy: Literal['open', 'closed'] = 'open'

    @field_validator('ratelimit_host')
    @classmethod
    def _legal_ratelimit_host(cls, text: str | None) -> str | None:
        if text:
            addresses.ratelimit_url(text)
        return text

    @property
    def ratelimit_url(self) -> str | None:
        """Where the rate-limit service takes requests; None when there is none."""
        return addresses.ratelimit_url(self.ratelimit_host) if self.ratelimit_host else None
