"""What tests of the transport share."""

from __future__ import annotations

import pytest

from tests.integration.scene import Scene
from tests.support.sqs import SqsServer


@pytest.fixture
def scene(sqs: SqsServer) -> Scene:
    """Queues with names that nobody else uses."""
    return Scene(sqs)
