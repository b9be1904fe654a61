"""The result backend: a URL of PostgreSQL, or a stand-in where its driver is not installed."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import quote

from celery.backends.base import DisabledBackend

from be_queue import extras
from be_queue.errors import BeQueueError

__all__ = ['NotInstalled', 'ResultsExtraMissingError', 'default_backend', 'engine_options']


def default_backend(*, user: str, password: str, host: str, port: str, name: str) -> str:
    """Return the value for Celery's ``result_backend``: PostgreSQL by SQLAlchemy and psycopg.

    Without SQLAlchemy or psycopg, as in a producer that never reads results, it is `NotInstalled`.
    """
    if extras.missing('results'):
        return 'be_queue.results:NotInstalled'
    login = f'{quote(user, safe="")}:{quote(password, safe="")}'
    # SQLAlchemy takes the database's name as it stands.
    return f'db+postgresql+psycopg://{login}@{host}:{port}/{name}'


def engine_options(result_backend: str, timeout: float = 5.0) -> dict[str, Any]:
    """Return Celery's ``database_engine_options``: ``timeout`` seconds for the server to answer."""
    if 'sqlite' in result_backend:
        # Seconds to wait for another process's write.
        return {'connect_args': {'timeout': 30}}
    # Celery's own defaults, which are lost when there are options.
    options: dict[str, Any] = {'pool_pre_ping': True, 'pool_recycle': 3600}
    if 'psycopg' in result_backend:
        options['connect_args'] = {
            'connect_timeout': max(1, round(timeout)),
            'tcp_user_timeout': round(timeout * 1000),
            # See `be_queue.database`, which prepares statements where no pooler is in between.
            'prepare_threshold': None,
        }
    return options


class ResultsExtraMissingError(BeQueueError):
    """Results cannot be read here: install the extra, pip install 'be-queue[results]'."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class NotInstalled(DisabledBackend):
    """Lets a producer send tasks, and says what to install when it asks for a result."""

    def _explain(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ResultsExtraMissingError

    get_state = get_status = get_result = get_traceback = get_task_meta = _explain
    get_task_meta_for = wait_for = get_many = forget = ensure_chords_allowed = _explain
    save_group = restore_group = delete_group = _explain
