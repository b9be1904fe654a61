"""Tables of docs/ are those of the code, the runbook's alerts those of the rules: `make docs`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from be_queue.testing.processes import NO_DOTENV
from be_queue.worker import reference
from tests.support.worker import ROOT

PAGES = ['settings.md', 'metrics.md', 'runbook.md']
RULES = ROOT / 'deploy' / 'prometheus' / 'rules'
OWN = """
from pydantic import Field

from app.config.configuration import Config as ServiceConfig
from be_queue.worker import settings


class Config(ServiceConfig):
    thumbnail_size: int = 256
    '''Pixels of the longer side.'''


settings.use(Config)

from app import worker
from app.utils.metrics import counter

ORDERS = counter('orders_charged', 'Orders charged, by currency.', 'currency')
"""


def written(folder: Path, app: str) -> list[str]:
    """Return the pages as the command writes them."""
    for page in PAGES:
        (folder / page).write_text((ROOT / 'docs' / page).read_text())
    subprocess.run(
        [sys.executable, '-m', 'be_queue.worker.reference', app, folder, RULES],
        cwd=ROOT,
        env={'PYTHONPATH': str(folder), 'SERVICE_NAME': 'other'} | NO_DOTENV,
        check=True,
    )
    return [(folder / page).read_text() for page in PAGES]


def test_the_pages_are_those_of_the_code(tmp_path: Path) -> None:
    assert written(tmp_path, 'app.worker') == [(ROOT / 'docs' / p).read_text() for p in PAGES]


def test_settings_and_metrics_of_the_service_get_a_row(tmp_path: Path) -> None:
    (tmp_path / 'own.py').write_text(OWN)
    settings, metrics, _ = written(tmp_path, 'own')
    assert '| `THUMBNAIL_SIZE` | `256` | Pixels of the longer side. |\n<!-- table end' in settings
    assert (
        '| `{prefix}_orders_charged_total` | counter | `currency` | Orders charged, by currency. |'
        '\n<!-- table end'
    ) in metrics


def test_a_row_without_a_table_is_an_error() -> None:
    page = '<!-- table: A_* -->\n<!-- table end -->\n'
    with pytest.raises(ValueError, match='no table for B: add a pattern'):
        reference.fill(page, '', {'A_1': '', 'B': ''})
