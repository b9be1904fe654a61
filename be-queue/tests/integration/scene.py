"""A worker's queues on a real SQS server, and a look at them past the transport."""

from __future__ import annotations

import json
import uuid
from typing import Any

from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer

__all__ = ['Scene']


class Scene:
    """Queues with names that nobody else uses."""

    def __init__(self, sqs: SqsServer) -> None:
        self.sqs = sqs
        self.client = sqs.client()
        self.prefix = f't{uuid.uuid4().hex[:10]}'
        self.work, self.celery, self.platform = (
            f'{self.prefix}-local-{name}' for name in ('work', 'celery', 'platform.fifo')
        )

    def app(self, url: str = '', **options: Any) -> Celery:
        queues = Queues([Queue(queue_name='work', task='work', max_receives=3)])
        queues.build_celery('local', username=self.prefix)
        app = Celery(set_as_current=False)
        app.config_from_object(
            Config(
                queues,
                SQS_ENDPOINT_URL=url or self.sqs.url,
                result_backend='cache+memory://',
                broker_transport_options={'wait_time_seconds': 0} | options,
            )
        )
        return app

    def declare(self, app: Celery) -> None:
        with app.connection_for_write() as connection:
            for queue in app.amqp.queues.values():
                queue(connection.default_channel).declare()

    def differences(self, app: Celery, queue: str = '') -> list[str]:
        with app.connection_for_read() as connection:
            lines: list[str] = connection.default_channel.differences(queue or self.work)
            return lines

    def ensure(self, app: Celery, *queues: str) -> None:
        with app.connection_for_read() as connection:
            for queue in queues or (self.work,):
                connection.default_channel.redrive.ensure(queue)

    def make(self, name: str, **attributes: str) -> str:
        url: str = self.client.create_queue(QueueName=name, Attributes=attributes)['QueueUrl']
        return url

    def make_both(self, count: int = 3, target: str = '') -> str:
        target = target or f'err-{self.work}'
        self.make(target)
        return self.make(self.work, RedrivePolicy=self.policy(target, count))

    def policy(self, target: str, count: int) -> str:
        arn = self.attributes(target)['QueueArn']
        return json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': count})

    def url(self, name: str) -> str:
        url: str = self.client.get_queue_url(QueueName=name)['QueueUrl']
        return url

    def attributes(self, name: str) -> dict[str, str]:
        answer = self.client.get_queue_attributes(QueueUrl=self.url(name), AttributeNames=['All'])
        attributes: dict[str, str] = answer['Attributes']
        return attributes

    def redrive(self, name: str) -> tuple[str, int] | None:
        text = self.attributes(name).get('RedrivePolicy')
        if text is None:
            return None
        policy = json.loads(text)
        return policy['deadLetterTargetArn'].rpartition(':')[2], int(policy['maxReceiveCount'])

    def is_empty(self, name: str) -> bool:
        return self.sqs.visible(name) == self.sqs.in_flight(name) == 0

    def names(self) -> set[str]:
        return {name for name in self.sqs.queue_names() if self.prefix in name}
