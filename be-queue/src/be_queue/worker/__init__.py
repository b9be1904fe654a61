"""Everything that a worker needs beside its tasks: the extra ``worker`` of be-queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from be_queue import extras

if fault := extras.fault('worker', 'be_queue.worker is imported'):
    raise ModuleNotFoundError(fault)

from be_queue.worker.start_error import NOT_LOADED, StartError, in_one_line

if TYPE_CHECKING:
    from be_queue.worker.create import create_worker
    from be_queue.worker.server import serve

__all__ = ['NOT_LOADED', 'StartError', 'create_worker', 'in_one_line', 'serve']


def __getattr__(name: str) -> Any:
    # A worker does not load the server, nor the server the worker.
    if name == 'create_worker':
        from be_queue.worker.create import create_worker

        return create_worker
    if name == 'serve':
        from be_queue.worker.server import serve

        return serve
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
