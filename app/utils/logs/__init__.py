"""Logs: the lines of all libraries on standard error, as JSON or for a person."""

from app.utils.logs.configure import cannot_start, setup
from app.utils.logs.context import about

__all__ = ['about', 'cannot_start', 'setup']
