"""Checks before anything is started: each fault is one line."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import Celery

from be_queue import BeQueueError, SettingError
from be_queue.operations import ManagedQueue
from be_queue.outage import CHECK_SQS, brief
from be_queue.redact import redact
from be_queue.transport.sqs_errors import ERRORS
from be_queue.worker.start_error import StartError

__all__ = [
    'check_monitor',
    'declare_queues',
    'listen',
    'prepare_history',
    'prepare_metrics_directory',
]

logger = logging.getLogger(__name__)


def prepare_metrics_directory(folder: Path) -> None:
    """Make the folder, and remove what an earlier run left: its counts are not this run's.

    Raises `StartError` when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (*folder.glob('*.db'), *folder.glob('worker.*')):  # metrics, the heartbeat
            path.unlink()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(
            f'cannot write to the metrics directory {folder}: {os.strerror(error.errno or 0)}: '
            'fix its permissions or set PROMETHEUS_MULTIPROC_DIR to another'
        ) from None
    os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(folder)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for the web server to inherit; port 0 is any free one.

    Raises `StartError` when the address cannot be had.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = str(error.strerror).partition(' (while ')[0]  # which repeats the address
        raise StartError(
            f'cannot listen on {host}:{port}: {reason}: set SERVER_HOST or SERVER_PORT '
            'to another, or stop what uses the port'
        ) from None


def declare_queues(celery_app: Celery) -> str:
    """Declare every queue of the mapping, or compare them where they must not be made.

    Returns where they are: the URL that boto3 settled on, which AWS_ENDPOINT_URL may have set.

    Raises `StartError` when the broker does not answer, and with one line for each difference.
    """
    connection = celery_app.connection_for_write()
    try:
        with connection, connection.channel() as channel:
            differences = _differences(celery_app, channel)
            for queue in () if differences else celery_app.amqp.queues.values():
                queue(channel).declare()
                if _is_ours(celery_app, queue.name):
                    channel.redrive.ensure(queue.name)
            endpoint: str = redact(channel.sqs().meta.endpoint_url)
    except BeQueueError:
        raise
    except Exception as error:  # noqa: BLE001  (each transport has exceptions of its own)
        raise StartError(
            f'cannot reach the broker {connection.as_uri()}: {brief(error)}: check {CHECK_SQS}'
        ) from None
    if differences:
        raise StartError('\n'.join(differences))
    return endpoint


def prepare_history(celery_app: Celery, *, is_local: bool) -> None:
    """Migrate the tables of the history locally; elsewhere warn of those that need it.

    An unavailable database is left to the worker and the monitor, which wait for it.
    """
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    from be_queue.worker import history, vault

    try:
        if is_local:
            history.migrate(celery_app)
        elif fault := history.fault(celery_app):
            logger.warning('%s', fault)
    except OperationalError:
        pass
    except (SQLAlchemyError, SettingError) as error:
        logger.warning('the tables of the history are not verified: %s', brief(error))
    finally:
        vault.stop()  # the login of the database


def check_monitor(celery_app: Celery, monitor: str) -> None:
    """Warn when messages wait in the platform queue and nobody consumes it.

    Arguments:
        monitor: the module to run.
    """
    with celery_app.connection_for_write() as connection, connection.channel() as channel:
        for queue in celery_app.amqp.queues.values():
            managed = ManagedQueue(channel, queue)
            depth = None
            with suppress(*ERRORS):  # a server that reads no depths is no fault
                depth = managed.depth() if managed.gets_copies else None
            if depth and depth.visible and not depth.in_flight:
                logger.warning(
                    'nobody consumes the platform queue: queue=%s messages=%d; run the monitor '
                    '(python -m %s), or have no history of tasks with PLATFORM_QUEUE_NAME=',
                    *(managed.name, depth.visible, monitor),
                )


def _differences(celery_app: Celery, channel: Any) -> list[str]:
    if channel.redrive.creates:
        return []
    ours = [name for name in celery_app.amqp.queues if _is_ours(celery_app, name)]
    lines = [line for name in ours for line in channel.differences(name)]
    if lines and not channel.predefined_queues:
        lines.append('or set SQS_CREATE_QUEUES=true to have all this made and fixed')
    return lines


def _is_ours(celery_app: Celery, name: str) -> bool:
    """Return whether it is for this worker to say what a queue must be, and not for another."""
    mapping = celery_app.conf.QUEUES
    return name not in {mapping.sqs_name(queue) for queue in mapping if not queue.consume}
