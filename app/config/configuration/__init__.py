"""The app's settings and Celery's."""

from app.config.configuration.configuration import Config, WorkerConfig, load_config

__all__ = ['Config', 'WorkerConfig', 'load_config']
