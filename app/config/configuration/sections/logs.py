"""Logs: app/utils/logs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

__all__ = ['LogSettings']

LogLevel = Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']


class LogSettings(BaseSettings):
    """What is logged."""

    log_level: Annotated[LogLevel, BeforeValidator(lambda text: str(text).upper())] = 'INFO'
