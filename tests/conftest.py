"""The service that the fixtures of be_queue.testing start."""

from __future__ import annotations

import pytest

from app.config.configuration import load_config
from app.config.queues import QUEUES
from be_queue.testing.site import Service


@pytest.fixture(scope='session')
def service() -> Service:
    return Service(load_config(), QUEUES)
