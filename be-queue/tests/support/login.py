"""Credentials that last some seconds, and an SQS server that refuses those that have expired."""

from __future__ import annotations

import time

from tests.support.faulty import Handler, status

__all__ = ['Gate', 'key']

#: An access key is this and the second, since the epoch, up to which it is good.
PREFIX = 'AKIA'


def key(lifetime: float) -> str:
    """Return an access key that is good for some seconds."""
    return f'{PREFIX}{int(time.time() + lifetime)}'


class Gate:
    """A fault for every request: refuses, as AWS does, those whose credentials have expired."""

    def __init__(self) -> None:
        #: The access keys that were let through, and those that are revoked before their time.
        self.used: set[str] = set()
        self.revoked: set[str] = set()

    def __call__(self, handler: Handler) -> None:
        name = handler.headers['Authorization'].partition('Credential=')[2].partition('/')[0]
        if name in self.revoked or float(name.removeprefix(PREFIX)) <= time.time():
            status(403, 'ExpiredTokenException')(handler)
        else:
            self.used.add(name)
            handler.answer(*handler.forward())
