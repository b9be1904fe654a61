"""The app's settings and Celery's."""

from app.config.configuration.configuration import (
    ROOT,
    Config,
    WorkerConfig,
    load_config,
)
from app.config.configuration.faults import ConfigError

__all__ = ['ROOT', 'Config', 'ConfigError', 'WorkerConfig', 'load_config']
