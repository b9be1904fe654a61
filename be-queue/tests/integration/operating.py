"""For tests of the command be-queue."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from be_queue.transport.dead_letters import REASON
from tests.integration.scene import Scene

__all__ = ['Run', 'send_dead_letters']

Run = Callable[..., Result]


def send_dead_letters(scene: Scene, count: int) -> list[str]:
    """Return the ids of their tasks."""
    ids = [f'id-{number}' for number in range(count)]
    for task_id in ids:
        headers = {'task': 'work', 'id': task_id, 'argsrepr': '(1,)', 'kwargsrepr': '{}'}
        scene.client.send_message(
            QueueUrl=scene.url(f'err-{scene.work}'),
            MessageBody=json.dumps({'body': '[[1], {}, {}]', 'headers': headers}),
            MessageAttributes={
                REASON: {'DataType': 'String', 'StringValue': 'unknown task: [red]\x1b[31mwork'},
                'own': {'DataType': 'String', 'StringValue': 'kept'},
            },
        )
    return ids
