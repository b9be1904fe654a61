"""Gives a forked process connections and locks of its own, however it was forked.

Celery and kombu do so for children of multiprocessing only. After a bare ``os.fork``, by
``gunicorn --preload`` or uWSGI, parent and child would read each other's answers from SQS. And what
a thread of the parent had locked stays locked in the child (apache/airflow#70690): kombu locks a
cached property of a class each time that it is read.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

from celery import Celery, Signature, _state
from celery.app.amqp import AMQP
from kombu import Connection, pools
from kombu.transport.SQS import Channel
from kombu.utils.objects import cached_property

__all__ = ['channels']

#: The channels that have boto3 clients.
channels: WeakSet[Any] = WeakSet()

#: Keeps the parent's objects. Its threads may have held their locks at the fork: closing them, by
#: the garbage collector too, could wait for those forever.
_of_parent: list[Any] = []

#: The properties of all that a message passes on its way.
_CACHED = [
    value
    for sender in (Celery, AMQP, Signature, Connection, Channel)
    for owner in sender.__mro__
    for value in vars(owner).values()
    if isinstance(value, cached_property)
]


def _start_anew() -> None:
    for cached in _CACHED:
        cached.lock = threading.RLock()
    for group in (pools.producers, pools.connections):
        _of_parent.extend(group.values())
        group.clear()
    for app in _state._get_active_apps():
        app._pool = None
        if 'amqp' in vars(app):
            app.amqp._producer_pool = None
    for channel in channels:
        _of_parent.extend((channel._sqs, channel._fanout))
        channel._sqs = channel._fanout = None
        if channel.connection is not None:
            _of_parent.extend(channel._predefined_queue_clients.values())
            channel._predefined_queue_clients.clear()


os.register_at_fork(after_in_child=_start_anew)
