"""The interface of limiters: asked for permits, they say how many and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ['Fault', 'Grant', 'Limiter', 'LimiterError']


@dataclass(frozen=True)
class Grant:
    """An answer.

    Arguments:
        permits: those granted, from 0 on.
        ends_in: seconds until their window ends, and they with it.
        is_used_up: whether the window has no more; if not, there may be some at once.
        window: seconds of the whole window.
    """

    permits: int
    ends_in: float
    is_used_up: bool
    window: float


class Fault(str, Enum):
    """Why there is no answer."""

    TIMEOUT = 'timeout'
    UNREACHABLE = 'unreachable'
    #: An HTTP status, or an error of Redis.
    REFUSED = 'refused'
    #: An answer that makes no sense.
    ABSURD = 'absurd'
    #: The service has no limit of this name.
    UNKNOWN_NAME = 'unknown name'


class LimiterError(Exception):
    """A limiter gave no answer that can be used."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Limiter(Protocol):
    """The limit of one queue."""

    def acquire(self, count: int) -> Grant:
        """Return up to ``count`` permits, 1 at least; blocks, for one call at a time.

        Raises `LimiterError` when there is no answer that can be used.
        """
