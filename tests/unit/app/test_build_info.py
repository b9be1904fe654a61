from __future__ import annotations

import platform
from collections.abc import Callable

import celery

from app.config.configuration import Config
from app.web.build_info import BuildInfoCollector


def test_it_says_what_runs(configured: Callable[..., Config]) -> None:
    config = configured(SERVICE_NAME='or-ders', ENV='stage', RELEASE='1.2.3')
    (metric,) = BuildInfoCollector(config).collect()
    (sample,) = metric.samples
    assert (sample.name, sample.value) == ('or_ders_build_info', 1)
    assert sample.labels == {
        'service': 'or-ders',
        'env': 'stage',
        'release': '1.2.3',
        'python': platform.python_version(),
        'celery': celery.__version__,
    }
