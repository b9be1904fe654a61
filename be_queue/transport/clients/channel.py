"""Where kombu asks for a login, and the rest of the transport for a client."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import Any

from kombu.transport import SQS

from be_queue.transport.clients import credentials, forks
from be_queue.transport.clients.requests import AsyncSqs
from be_queue.transport.clients.watching import watch
from be_queue.transport.observer import Observer

__all__ = ['DEFAULTS', 'ClientChannel']

#: kombu's options with other defaults than kombu's. Seconds; requests that SQS throttles or fails
#: with 5xx are sent again by botocore, unchanged.
CLIENT_CONFIG: dict[str, Any] = {
    'connect_timeout': 5,
    'read_timeout': 10,
    'retries': {'mode': 'standard', 'total_max_attempts': 5},
}
DEFAULTS: dict[str, Any] = {'client-config': CLIENT_CONFIG, 'sqs_base64_encoding': False}


class ClientChannel(SQS.Channel):
    """kombu's, with time-outs, credentials that are renewed, and requests from the event loop."""

    @cached_property
    def transport_options(self) -> dict[str, Any]:
        """kombu's, with defaults of our own."""
        defaults = copy.deepcopy(DEFAULTS)
        given: dict[str, Any] = super().transport_options
        client = defaults['client-config'] | (given.get('client-config') or {})
        return defaults | given | {'client-config': client}

    @cached_property
    def observer(self) -> Observer:
        """What is told of requests and messages."""
        return Observer()

    @cached_property
    def _async_clients(self) -> dict[str, AsyncSqs]:
        return {}

    @cached_property
    def _sts_session(self) -> dict[str, Any]:
        return {}

    def async_sqs(self, queue: str) -> AsyncSqs:
        """Return what asks SQS about the queue from the event loop."""
        if queue not in self._async_clients:
            client = partial(self.blocking_sqs, queue)
            self._async_clients[queue] = AsyncSqs(self.hub, client, self.observer)
        return self._async_clients[queue]

    def blocking_sqs(self, queue: str) -> Any:
        """Return the boto3 client for the queue."""
        return self.sqs(queue=self.canonical_queue_name(queue) if self.predefined_queues else None)

    def get_sts_credentials(self) -> Any:
        """Return one session for all queues; kombu renews that of the first queue that asks."""
        session = self._sts_session
        if not session or session['Expiration'] <= datetime.now(timezone.utc):
            session.update(super().get_sts_credentials())
            self._predefined_queue_clients.clear()
        return session

    @staticmethod
    def generate_sts_session_token(role_arn: str, token_expiry_seconds: int) -> Any:
        return credentials.assume_role(role_arn, token_expiry_seconds)

    def _new_boto_client(self, *args: Any, **kwargs: Any) -> Any:
        client = super()._new_boto_client(*args, **kwargs)
        credentials.heal(client)
        watch(client, self.observer)
        forks.channels.add(self)
        return client
