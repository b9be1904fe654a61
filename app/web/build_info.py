"""Which version of what runs, as a metric."""

from __future__ import annotations

import platform

import celery
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.config.configuration import Config

__all__ = ['BuildInfoCollector']


class BuildInfoCollector(Collector):
    """A gauge that is always 1: its labels tell.

    Arguments:
        config: the app's settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metric without its value."""
        info = GaugeMetricFamily(
            f'{self._config.prefix}_build_info',
            'Always 1: what runs, and on which versions.',
            labels=['service', 'env', 'release', 'python', 'celery'],
        )
        return [info]

    def collect(self) -> list[GaugeMetricFamily]:
        (info,) = self.describe()
        config = self._config
        versions = [platform.python_version(), celery.__version__]
        info.add_metric([config.service_name, config.env, config.release, *versions], 1)
        return [info]
