"""The web server with one integration, which notes in the file ``NOTES`` when it is called."""

from __future__ import annotations

import os
from pathlib import Path

from app.web import create_app
from be_queue.worker import processes

__all__ = ['create_app']


class Noting:
    """Notes that it is started and stopped."""

    @staticmethod
    def start(config: object, role: object) -> None:
        _note(f'start {role}')

    @staticmethod
    def stop() -> None:
        _note('stop')


def _note(text: str) -> None:
    with Path(os.environ['NOTES']).open('a') as notes:
        notes.write(f'{text} {os.getpid()}\n')


processes._INTEGRATIONS = (Noting,)
