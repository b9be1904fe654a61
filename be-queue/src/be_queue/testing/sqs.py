"""A real SQS server in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from be_queue.testing.ports import accepts, free_port
from be_queue.testing.waiting import wait_until

REGION = 'us-west-2'


def client_of(port: int, config: Config | None = None) -> Any:
    """Return a boto3 client of the server at a port of loopback."""
    return boto3.client(
        'sqs',
        endpoint_url=f'http://127.0.0.1:{port}',
        region_name=REGION,
        aws_access_key_id='test',
        aws_secret_access_key='test',
        config=config,
    )


class SqsServer:
    """MiniStack on a port of loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        #: With credentials, as SQS_ENDPOINT_URL takes it.
        self.url = f'http://test:test@127.0.0.1:{port}'

    @cached_property
    def _client(self) -> Any:
        # To make one takes longer than a request.
        return client_of(self.port)

    def client(self) -> Any:
        """Return a boto3 client of the server."""
        return self._client

    def queue_names(self) -> set[str]:
        """Return the names of all queues."""
        urls = self._client.list_queues().get('QueueUrls', [])
        return {url.rsplit('/', 1)[-1] for url in urls}

    def visible(self, name: str) -> int:
        """Return how many messages of queue ``name`` wait to be received."""
        return self._count(name, 'ApproximateNumberOfMessages')

    def in_flight(self, name: str) -> int:
        """Return how many messages of queue ``name`` are received and not deleted."""
        return self._count(name, 'ApproximateNumberOfMessagesNotVisible')

    def _count(self, name: str, attribute: str) -> int:
        url = self._client.get_queue_url(QueueName=name)['QueueUrl']
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])
        return int(answer['Attributes'][attribute])


@contextmanager
def running_sqs(services: str = 'sqs') -> Iterator[SqsServer]:
    """Start an SQS server on a free port; end it with the block.

    Arguments:
        services: the AWS services that it offers, joined by commas.
    """
    port = free_port()
    environment = os.environ | {
        'GATEWAY_PORT': str(port),
        'BIND_HOST': '127.0.0.1',
        'SERVICES': services,
        'IOT_MTLS_ENABLED': '0',  # would listen on every interface
        'LOG_LEVEL': 'WARNING',
    }
    process = subprocess.Popen([sys.executable, '-m', 'ministack'], env=environment)
    try:
        wait_until(lambda: accepts(port), 'the SQS server listens')
        yield SqsServer(port)
    finally:
        process.kill()  # in memory: there is nothing to save
        process.wait()
