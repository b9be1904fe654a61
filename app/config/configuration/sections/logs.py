"""Logs: app/utils/logs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator
from pydantic_settings import BaseSettings

__all__ = ['LogSettings']

LogLevel = Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']
LEVELS: tuple[str, ...] = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')


class LogSettings(BaseSettings):
    """What is logged, and in which form."""

    #: The least that is logged.
    log_level: Annotated[LogLevel, BeforeValidator(lambda text: str(text).upper())] = 'INFO'
    #: Levels of single loggers and those below them: ``sqlalchemy.engine=INFO,kombu=DEBUG``.
    log_levels: str = ''
    #: ``auto`` is ``console`` on a terminal or when ``env`` is local, else ``json``.
    log_format: Annotated[
        Literal['auto', 'json', 'console'], BeforeValidator(lambda text: str(text).lower())
    ] = 'auto'

    @field_validator('log_levels')
    @classmethod
    def _legal_log_levels(cls, text: str) -> str:
        levels_of(text)
        return text

    @property
    def logger_levels(self) -> dict[str, str]:
        """The levels of ``log_levels`` by the logger's name."""
        return levels_of(self.log_levels)


def levels_of(text: str) -> dict[str, str]:
    """Return the level of each logger that ``text`` names; ValueError when it cannot be read."""
    levels = {}
    for part in filter(None, (part.strip() for part in text.split(','))):
        logger, _, level = (word.strip() for word in part.partition('='))
        if not logger or level.upper() not in LEVELS:
            raise ValueError(
                f'logger=LEVEL, separated by commas, with {", ".join(LEVELS[:-1])} or '
                f'{LEVELS[-1]}, for example sqlalchemy.engine=INFO,kombu=DEBUG; not {part!r}'
            )
        levels[logger] = level.upper()
    return levels
