"""Prometheus metrics: app/utils/metrics, app/web."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import field_validator
from pydantic_settings import BaseSettings

from app.config.configuration.root import ROOT

__all__ = ['MetricsSettings']


class MetricsSettings(BaseSettings):
    """What the metrics are called and where the processes keep them."""

    #: In front of every metric's name; by default the service's name with ``_``.
    metrics_prefix: str | None = None
    #: Where the processes keep their metrics; emptied at every start.
    prometheus_multiproc_dir: Path = Path('prometheus_multiproc_dir')

    @field_validator('metrics_prefix')
    @classmethod
    def _legal_prefix(cls, text: str | None) -> str | None:
        if text and not re.fullmatch(r'[a-zA-Z_][a-zA-Z0-9_]*', text):
            raise ValueError("letters, digits and '_', without a digit in front")
        return text

    @field_validator('prometheus_multiproc_dir')
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return ROOT / path
