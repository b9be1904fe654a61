"""Turns a task message into a row, by its headers alone: the body is never decoded."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

import kombu
from celery.utils.time import maybe_iso8601
from kombu.transport import virtual

from be_queue.worker.monitor.table import ID_LENGTH

__all__ = ['NotATaskError', 'accept_broken_messages', 'task_row']

#: Characters kept of a text; Celery's representations of arguments are no longer by default.
TEXT_LENGTH = 1024
MAX_RETRIES = 2**31 - 1


class NotATaskError(Exception):
    """The message is not one that a Celery producer with task protocol 2 sends."""


def accept_broken_messages(channel: Any) -> None:
    """Have a channel deliver broken messages too, so that they can be rejected.

    kombu raises instead, out of the receive, and everything that was received stays hidden until
    the visibility timeout: one such message would hold up the queue for good.
    """
    channel.Message = LenientMessage
    open_envelope = getattr(channel, '_prepare_json_payload', None)  # of the SQS transport
    if open_envelope is None:
        return

    def opened(text: str) -> dict[str, Any]:
        try:
            envelope: dict[str, Any] = open_envelope(text)
            sound = isinstance(envelope['properties'].get('delivery_info', {}), dict)
        except Exception:  # noqa: BLE001  (whatever a stranger's message provokes)
            sound = False
        return envelope if sound else {}  # {} has kombu take the whole text as the body

    channel._prepare_json_payload = opened


class LenientMessage(virtual.Message):
    """A message that exists even when it cannot be decoded; its ``errors`` say why."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **kwargs)
        except Exception:  # noqa: BLE001  (whatever a stranger's message provokes)
            cause = sys.exc_info()
            super().__init__({'properties': payload['properties']}, channel=channel, **kwargs)
            self.errors.append(cause)


def task_row(message: kombu.Message) -> dict[str, Any]:
    """Return the row of `be_queue.worker.monitor.table.TASKS` for a task message.

    Raises `NotATaskError` with the fault.
    """
    if message.errors:
        raise NotATaskError(repr(message.errors[0][1]))
    headers = message.headers
    now = datetime.now(timezone.utc)
    try:
        return {
            'task_id': _name(headers, 'id', ID_LENGTH),
            'name': _name(headers, 'task', TEXT_LENGTH),
            'queue': _text(message.delivery_info.get('routing_key')),
            'args': _text(headers.get('argsrepr')),
            'kwargs': _text(headers.get('kwargsrepr')),
            'retries': _retries(headers.get('retries')),
            'parent_id': _text(headers.get('parent_id')),
            'root_id': _text(headers.get('root_id')),
            'group_id': _text(headers.get('group')),
            'eta': _moment(headers.get('eta')),
            'expires': _moment(headers.get('expires')),
            'origin': _text(headers.get('origin')),
            'sent_at': _sent_at(message) or now,
            'seen_at': now,
        }
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise NotATaskError(str(error)) from error


def _name(headers: dict[str, Any], header: str, length: int) -> str:
    name = headers.get(header)
    if not isinstance(name, str) or not 0 < len(name) <= length:
        raise NotATaskError(f'header {header!r} must be a text of 1 to {length} characters')
    return _text(name) or ''


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    if len(text) > TEXT_LENGTH:
        text = f'{text[: TEXT_LENGTH - 3]}...'
    # PostgreSQL takes neither of the two: NUL, and halves of surrogate pairs.
    return text.replace('\0', '\N{REPLACEMENT CHARACTER}').encode('utf-8', 'replace').decode()


def _retries(value: Any) -> int:
    retries = int(value or 0)
    if not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f'header retries={retries} is out of range')
    return retries


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    moment: datetime = maybe_iso8601(value)
    # Celery's times without a zone are in UTC.
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)


def _sent_at(message: kombu.Message) -> datetime | None:
    attributes = message.delivery_info.get('sqs_message', {}).get('Attributes', {})
    milliseconds = attributes.get('SentTimestamp')
    return milliseconds and datetime.fromtimestamp(int(milliseconds) / 1000, timezone.utc)
