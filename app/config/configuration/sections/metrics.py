"""Prometheus metrics: app/utils/metrics, app/web."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.config.configuration.root import ROOT

__all__ = ['MetricsSettings']


class MetricsSettings(BaseSettings):
    """What the metrics are called, where the processes keep them, and what is asked of SQS."""

    #: In front of every metric's name; by default the service's name with ``_``.
    metrics_prefix: str | None = None
    #: Where the processes keep their metrics; emptied at every start.
    prometheus_multiproc_dir: Path = Path('prometheus_multiproc_dir')
    #: Seconds between two questions to SQS how many messages are in each queue; 0 for no metrics.
    queue_depth_interval: Annotated[float, Field(ge=0, le=3600)] = 30.0

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
