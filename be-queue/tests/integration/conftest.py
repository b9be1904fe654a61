"""What tests of the transport share."""

from __future__ import annotations

import pytest

from be_queue.testing.sqs import SqsServer
from tests.integration.scene import Scene


@pytest.fixture
def scene(sqs: SqsServer) -> Scene:
    """Queues with names that nobody else uses."""
    return Scene(sqs)
