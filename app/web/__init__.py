"""The web server beside the worker: ``gunicorn 'app.web:create_app()'``."""

from __future__ import annotations

from flask import Flask

from be_queue.worker import NOT_LOADED, in_one_line, web

__all__ = ['create_app']


def create_app() -> Flask:
    """Return the Flask app: the worker's pages, and the routes that you add here."""
    with in_one_line(NOT_LOADED):
        from app.config.celery_settings import worker_config

        return web.create_app(worker_config)
