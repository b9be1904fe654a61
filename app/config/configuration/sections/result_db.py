"""The result database: app/utils/result_store.py, app/utils/idempotency.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

__all__ = ['ResultDbSettings']


class ResultDbSettings(BaseSettings):
    """PostgreSQL, in whose place CELERY_RESULT_BACKEND may name any backend of Celery's."""

    result_db_user: str = 'cadasta'
    result_db_pass: SecretStr = SecretStr('cadasta')
    #: Locally, results are in a SQLite file until this is set.
    result_db_host: str | None = None
    result_db_port: Annotated[int, Field(ge=1, le=65535)] = 5432
    result_db_name: str = 'cadasta'
    #: Seconds after which a result backend that does not answer is given up, to be tried again.
    result_backend_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    #: Seconds that a task goes on waiting for an unavailable result backend when the worker stops.
    result_backend_shutdown_timeout: Annotated[float, Field(ge=0, le=43_200)] = 5.0
    #: Whether a message whose task runs already or has run is skipped: app/utils/idempotency.py.
    idempotency_guard: bool = False
