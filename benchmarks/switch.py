"""The template's signals and metrics, on a worker that is measured with them or without."""

from __future__ import annotations

from celery import Celery

from be_queue.transport import Observer

__all__ = ['switch_off', 'switch_on']


def switch_on(app: Celery) -> None:
    """Have a worker do what `app.worker` has it do."""
    from app.config.configuration import load_config
    from app.utils import celery_signals, heartbeat  # which connects the handlers

    celery_signals.pool.install(app)
    heartbeat.install(app, load_config().heartbeat_path)


def switch_off() -> None:
    """Have a worker count nothing, for which there is no setting."""
    from app.utils.transport import Channel

    Channel.observer = Observer()
