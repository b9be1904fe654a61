"""Sends messages ten at a time, with several requests in flight."""

from __future__ import annotations

import contextvars
import random
import threading
import time
from typing import Any

from botocore.exceptions import ClientError
from kombu.exceptions import OperationalError

from be_queue.errors import NotSentError
from be_queue.transport.messages import BATCH_BYTES
from be_queue.transport.publishing import SendRequest, collector, unreachable
from be_queue.transport.requests import BATCH_SIZE

__all__ = ['MAX_FAILURES', 'MAX_IN_FLIGHT', 'Batch', 'CircuitBreaker', 'Entry']

#: Requests in flight.
MAX_IN_FLIGHT = 8
#: Attempts for a message that SQS fails within a request that it answers.
ATTEMPTS = 5
#: Seconds of the first pause between them; each is twice as long.
FIRST_PAUSE_SECONDS = 0.2
#: Requests in a row without an answer that open the circuit.
MAX_FAILURES = 3


class Entry:
    """The messages of one call, and the outcome of each."""

    def __init__(self) -> None:
        self.sent: list[SendRequest] = []
        self.failed: dict[SendRequest, Exception | str] = {}

    def error(self) -> NotSentError | None:
        """Return why messages were not sent, once the batch has ended; None when all were."""
        if not self.failed:
            return None
        # A call may have several tasks, those of a group: the first that failed stands for them.
        request, first = next(iter(self.failed.items()))
        task = request.task
        error = NotSentError(
            *task,
            [request.queue for request in self.sent if request.task == task],
            {r.queue: str(reason) for r, reason in self.failed.items() if r.task == task},
        )
        error.__cause__ = first if isinstance(first, Exception) else None
        return error


class CircuitBreaker:
    """Stops requests to a server that does not answer: each would wait until its time-out."""

    def __init__(self) -> None:
        #: Why it is open: the error of the last request; None while it is closed.
        self.error: Exception | None = None
        #: A list, since threads share it: its methods are atomic.
        self._failures: list[Exception] = []

    def note(self, error: Exception | None) -> None:
        """Count a request that found no answer; with None, SQS has answered."""
        if error is None:
            self._failures.clear()
            return
        self._failures.append(error)
        if len(self._failures) >= MAX_FAILURES:
            self.error = self.error or error


class Part(threading.Thread):
    """One SendMessageBatch. A daemon, so that it does not keep the process from ending."""

    def __init__(self, breaker: CircuitBreaker, slots: threading.Semaphore) -> None:
        super().__init__(name='send-batch', daemon=True)
        self._breaker = breaker
        self._slots = slots
        self._messages: list[tuple[Entry, SendRequest]] = []
        self._size = 0
        #: Parts to wait for: they have earlier messages of a FIFO queue's group.
        self.after: set[Part] = set()

    @property
    def is_full(self) -> bool:
        return len(self._messages) == BATCH_SIZE

    def has_room_for(self, request: SendRequest) -> bool:
        """Return whether SQS takes one more."""
        return not self.is_full and self._size + request.size <= BATCH_BYTES

    def add(self, entry: Entry, request: SendRequest) -> None:
        self._messages.append((entry, request))
        self._size += request.size

    def run(self) -> None:
        try:
            for part in self.after:
                part.join()
            self.after.clear()
            self._send()
        except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
            # boto3 has tried it several times.
            self._breaker.note(None if isinstance(error, ClientError) else error)
            self._fail(error)
        finally:
            self._slots.release()

    def _send(self) -> None:
        """Send it; retry messages that SQS failed and may take another time."""
        if self._breaker.error is not None:
            self._fail(self._breaker.error)
            return
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                time.sleep(random.uniform(pause / 2, pause))
            self._messages = self._try(is_last=attempt == ATTEMPTS - 1)
            if not self._messages:
                return

    def _try(self, is_last: bool) -> list[tuple[Entry, SendRequest]]:
        """Return the messages to retry."""
        _, first = self._messages[0]
        entries = [{'Id': str(i), **r.params} for i, (_, r) in enumerate(self._messages)]
        answer = first.client.send_message_batch(QueueUrl=first.url, Entries=entries)
        self._breaker.note(None)
        taken = {taken['Id'] for taken in answer.get('Successful', [])}
        refused = {refused['Id']: refused for refused in answer.get('Failed', [])}
        retried = []
        for i, (entry, request) in enumerate(self._messages):
            fault = refused.get(str(i), {})
            if str(i) in taken:
                entry.sent.append(request)
            elif is_last or fault.get('SenderFault'):
                code, text = fault.get('Code', 'no answer'), fault.get('Message', '')
                entry.failed[request] = f'{code}: {text}'
            else:
                retried.append((entry, request))
        return retried

    def _fail(self, error: Exception) -> None:
        for entry, request in self._messages:
            entry.failed[request] = error


class Batch:
    """Collects what this thread publishes, and sends it in parts; all is sent when it ends.

    When it ends by an error, what is not yet on its way is dropped.
    """

    def __init__(self) -> None:
        self._slots = threading.Semaphore(MAX_IN_FLIGHT)
        self._parts: list[Part] = []
        #: By boto3 client: each predefined queue may be of another server.
        self._breakers: dict[Any, CircuitBreaker] = {}
        #: By queue URL.
        self._filling: dict[str, Part] = {}
        #: The last part with messages of a group, by queue URL and group of a FIFO queue.
        self._last: dict[tuple[str, str], Part] = {}
        self._collected: list[SendRequest] = []
        self._token: contextvars.Token[Any] | None = None

    def __enter__(self) -> Batch:
        self._token = collector.set(self)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._token is not None:
            collector.reset(self._token)
        if error is None:
            for url in list(self._filling):
                self._start(url)
            for part in self._parts:
                part.join()

    @property
    def given_up(self) -> OperationalError | None:
        """Why nothing more is sent; None while some SQS server answers or may answer."""
        errors = [breaker.error for breaker in self._breakers.values() if breaker.error]
        return unreachable(errors[0]) if 0 < len(errors) == len(self._breakers) else None

    def add(self, requests: list[SendRequest]) -> None:
        """Collect the requests of a message, until `commit` or `discard`."""
        self._collected += requests

    def discard(self) -> None:
        """Forget what was collected since the last `commit`: its call failed half-way."""
        self._collected.clear()

    def commit(self, entry: Entry) -> None:
        """Send what was collected since the last time, and note in ``entry`` what becomes of it."""
        for request in self._collected:
            url = request.url
            if url in self._filling and not self._filling[url].has_room_for(request):
                self._start(url)
            if url not in self._filling:
                breaker = self._breakers.setdefault(request.client, CircuitBreaker())
                self._filling[url] = Part(breaker, self._slots)
            part = self._filling[url]
            part.add(entry, request)
            if 'MessageDeduplicationId' in request.params:  # FIFO
                key = url, request.params['MessageGroupId']
                earlier = self._last.get(key, part)
                if earlier is not part:
                    part.after.add(earlier)
                self._last[key] = part
            if part.is_full:
                self._start(url)
        self._collected.clear()

    def _start(self, url: str) -> None:
        part = self._filling.pop(url)
        self._slots.acquire()
        try:
            part.start()
            self._parts.append(part)
        except RuntimeError:  # the interpreter is ending, or the system gives no more threads
            part.run()
