"""A result backend of a user's own, which fails with an exception that nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery.backends.filesystem import FilesystemBackend

__all__ = ['Shelf', 'ShelfIsShutError']


class ShelfIsShutError(Exception):
    """The shelf is shut."""


class Shelf(FilesystemBackend):
    """Keeps results in the folder of its URL, unless there is a file named ``shut``."""

    def __init__(self, *args: Any, url: str, **kwargs: Any) -> None:
        super().__init__(*args, url=url, **kwargs)
        self._shut = Path(url.removeprefix('file://')) / 'shut'

    def store_result(self, *args: Any, **kwargs: Any) -> Any:
        if self._shut.exists():
            raise ShelfIsShutError('the shelf is shut')
        return super().store_result(*args, **kwargs)
