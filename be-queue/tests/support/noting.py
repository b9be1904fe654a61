"""An observer of a channel that notes all that it is told."""

from __future__ import annotations

from typing import Any

from be_queue.transport.observer import Observer

__all__ = ['Noting']


class Noting(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.seconds: list[float] = []
        self.receives: list[int | None] = []
        self.deletes: list[tuple[int, list[float]]] = []
        self.extensions: list[tuple[int, int]] = []
        self.releases: list[tuple[str, int]] = []

    def requested(self, operation: str, status: str, seconds: float) -> None:
        self.requests.append((operation, status))
        self.seconds.append(seconds)

    def received(self, queue: str, count: int) -> None:
        self.receives.append(count)

    def receive_failed(self, queue: str) -> None:
        self.receives.append(None)

    def deleted(self, queue: str, asked: int, delays: Any) -> None:
        self.deletes.append((asked, delays))

    def extended(self, queue: str, count: int, failed: int) -> None:
        self.extensions.append((count, failed))

    def released(self, queue: str, count: int) -> None:
        self.releases.append((queue, count))
