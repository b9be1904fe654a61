"""What tests of the transport share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub, set_event_loop

from tests.integration.scene import Scene
from tests.support.sqs import SqsServer


@pytest.fixture
def scene(sqs: SqsServer) -> Scene:
    """Queues with names that nobody else uses."""
    return Scene(sqs)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The event loop of this process."""
    hub = Hub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(None)
