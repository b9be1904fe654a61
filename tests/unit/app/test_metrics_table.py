"""docs/metrics.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.process import NO_DOTENV, ROOT

PAGE = ROOT / 'docs' / 'metrics.md'
ROW = re.compile(r'^\| `\{prefix\}_(\w+)` \| (\w+) \| (.*) \| (.+) \|$', re.MULTILINE)


def test_the_table_is_what_the_code_says(tmp_path: Path) -> None:
    # In a process of its own: other tests make metrics as well.
    program = 'import sys; from app.web.metrics_table import page; sys.stdout.write(page())'
    environment = {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path), 'METRICS_PREFIX': 'other'}
    made = subprocess.run(
        [sys.executable, '-c', program],
        cwd=ROOT,
        env=environment | NO_DOTENV,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert PAGE.read_text() == made, 'run: python -m app.web.metrics_table'


def test_names_follow_the_rules_of_prometheus() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) > 30
    names = [name for name, *_ in rows]
    assert names == sorted(names)
    for name, kind, _, what in rows:
        assert name.endswith('_total') == (kind == 'counter'), name
        # Base units, and a help that does not repeat the name.
        assert not re.search(r'_(ms|milliseconds|minutes|kib|kb|mb|percent)(_|$)', name), name
        assert what.endswith('.'), name
    assert {kind for _, kind, *_ in rows} == {'counter', 'gauge', 'histogram'}
