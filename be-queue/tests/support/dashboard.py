"""The dashboard of deploy/grafana."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ['FOLDER', 'PREFIX', 'dashboard', 'expressions', 'filled_in']

#: In front of the metrics of a worker whose METRICS_PREFIX is the default.
PREFIX = 'python_backend_worker_template_'
FOLDER = Path(__file__).resolve().parents[3] / 'deploy' / 'grafana'


def dashboard() -> dict[str, Any]:
    """Return the dashboard that is shipped."""
    (path,) = (FOLDER / 'dashboards').iterdir()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def expressions() -> list[str]:
    """Return every expression of it: of panels, variables and annotations."""
    board = dashboard()
    found = [target['expr'] for panel in board['panels'] for target in panel.get('targets', ())]
    found += [note['target']['expr'] for note in board['annotations']['list'] if 'target' in note]
    for variable in board['templating']['list']:
        query = re.fullmatch(r'label_values\((.+), (\w+)\)', variable.get('definition', ''))
        if query:
            found.append(f'count by ({query[2]}) ({query[1]})')
    return found


def filled_in(expression: str) -> str:
    """Return what Grafana asks Prometheus when everything is chosen."""
    text = expression.replace('$__rate_interval', '1m')
    return re.sub(r'"\$\w+"', '".*"', text)
