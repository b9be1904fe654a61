"""The app's settings and Celery's."""

from app.config.configuration.configuration import ROOT, Config, load_config
from app.config.configuration.faults import ConfigError
from app.config.configuration.worker_config import WorkerConfig

__all__ = ['ROOT', 'Config', 'ConfigError', 'WorkerConfig', 'load_config']
