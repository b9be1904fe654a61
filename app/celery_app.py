"""The Celery app that tasks belong to, however they are imported.

The package makes it, as in Celery's guide for Django: a task that is imported in a shell or in a
web service is sent by this app. The settings are read when they are first needed.
"""

from celery import Celery

from app.config import configuration  # noqa: F401  (the class of the settings)

__all__ = ['app']

app = Celery('app')
app.config_from_object('app.config.celery_settings:worker_config')
# Also in threads, of which each has a current app of its own.
app.set_default()
