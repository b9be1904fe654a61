"""Your settings, and Celery's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from app.config.schedule import SCHEDULE
from app.utils import sentry
from be_queue.worker import settings

__all__ = ['Config', 'WorkerConfig', 'load_config']


class Config(settings.Settings):
    """The worker's settings, and yours: each from the variable of its name in upper case.

    A field without a default must be set. Types are pydantic's:

        thumbnail_size: Annotated[int, Field(gt=0, le=4096)] = 256

    Read them in a task with `load_config`. docs/settings.md has those of the worker.
    """

    root = Path(__file__).resolve().parents[3]

    service_name: str = 'python-backend-worker-template'

    def sentry_before_send(self, event: Any, hint: Any) -> Any:
        return sentry.before_send(event, hint)


class WorkerConfig(settings.WorkerConfig):
    """Celery's settings for this worker.

    A variable ``CELERY_<SETTING>`` wins over what is here.
    """

    def default_settings(self) -> dict[str, Any]:
        return super().default_settings() | {
            'beat_schedule': SCHEDULE,
            'broker_transport': 'app.utils.transport:Transport',
        }


settings.use(Config)


def load_config() -> Config:
    """Return the settings of this process, read once.

    Raises `be_queue.worker.settings.ConfigError` with one line per fault.
    """
    return cast(Config, settings.current())
