"""Settings for the app's modules: none of the developer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.config.configuration import Config, load_config
from be_queue.worker import redaction
from be_queue.worker.settings import forget, use


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Return a function that reads the settings from these variables alone."""

    def configure(env_file: str = '', **variables: str) -> Config:
        (tmp_path / '.env').write_text(env_file)
        monkeypatch.setattr(Config, 'root', tmp_path)
        monkeypatch.delenv('PYTHON_DOTENV_DISABLED', raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        forget()
        return load_config()

    yield configure
    use(Config)


@pytest.fixture
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process knows none yet, and forgets at the end of the test those that it learns."""
    for name, empty in (('_known', ()), ('_settings', {}), ('_later', {})):
        monkeypatch.setattr(redaction, name, empty)
