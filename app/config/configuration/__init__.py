"""The app's settings and Celery's."""

from app.config.configuration.configuration import Config, WorkerConfig, load_config
from app.config.configuration.faults import ConfigError

__all__ = ['Config', 'ConfigError', 'WorkerConfig', 'load_config']
