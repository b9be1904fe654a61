"""The parts of `Config`, one file for each concern; a setting is added where its concern is."""

from app.config.configuration.sections.fluent import FluentSettings
from app.config.configuration.sections.logs import LogSettings
from app.config.configuration.sections.metrics import MetricsSettings
from app.config.configuration.sections.ratelimit import RatelimitSettings
from app.config.configuration.sections.result_db import ResultDbSettings
from app.config.configuration.sections.sentry import SentrySettings
from app.config.configuration.sections.tracing import TracingSettings

__all__ = [
    'FluentSettings',
    'LogSettings',
    'MetricsSettings',
    'RatelimitSettings',
    'ResultDbSettings',
    'SentrySettings',
    'TracingSettings',
]
