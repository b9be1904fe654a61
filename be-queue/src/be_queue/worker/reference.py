"""Writes the tables of docs/settings.md and docs/metrics.md, and docs/runbook.md: ``make docs``.

A page marks where a table goes, and the names that it lists, as patterns of `fnmatch`. A name goes
to the first table of its page that has a pattern for it:

    <!-- table: LOG_* -->
    <!-- table end -->

The runbook has its alerts between ``<!-- alerts -->`` and ``<!-- alerts end -->``.
"""

from __future__ import annotations

import os
import pkgutil
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from textwrap import fill as fill_text
from typing import Any

from celery import Celery
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from be_queue.worker.settings import Settings, current

__all__ = ['alerts', 'fill', 'metrics', 'settings']

TABLE = re.compile(r'(<!-- table: ([^\n]+) -->\n).*?(<!-- table end -->)', re.DOTALL)
ALERTS = re.compile(r'(<!-- alerts -->\n).*(<!-- alerts end -->)', re.DOTALL)
#: A label or the value in an annotation of a rule.
PLACEHOLDER = re.compile(r'\{\{ \$(?:labels\.)?(\w+).*?\}\}')
WIDTH = 110


def settings(settings_class: type[Settings]) -> dict[str, str]:
    """Return a row for each setting, by the name of its variable."""
    return {
        name.upper(): _row(f'`{name.upper()}`', _default(field), _description(settings_class, name))
        for name, field in settings_class.model_fields.items()
    }


def metrics(config: Settings) -> dict[str, str]:
    """Return a row for each metric, by its name without METRICS_PREFIX.

    A metric of the service is among them when its module is imported before.
    """
    import be_queue.worker.metrics as package
    from be_queue.operations import Depth
    from be_queue.worker import heartbeat
    from be_queue.worker.web.depths import DepthPoller
    from be_queue.worker.web.metrics import registry_of

    for module in pkgutil.iter_modules(package.__path__, f'{package.__name__}.'):
        import_module(module.name)
    rows = {
        name: _metric_row(name, kind, labels, what)
        for name, kind, labels, what in package.definitions
    }
    # The web server's own have labels once they have a value.
    beat = {'q': heartbeat.Poller('idle', time.time())}, heartbeat.Load(1, 0, None, {'q': 0})
    heartbeat.write(config.heartbeat_path, heartbeat.State.CONSUMING, *beat)
    depths = DepthPoller(Celery(), config.prefix, ['q'])
    depths.known['q'] = Depth('q', 1, 1, 1, 1)
    for family in registry_of(config, depths).collect():
        kind = 'gauge' if family.type == 'info' else family.type
        sample = family.samples[0]
        name = sample.name.removeprefix(f'{config.prefix}_')
        rows[name] = _metric_row(name, kind, sample.labels, family.documentation)
    return dict(sorted(rows.items()))


def fill(page: str, heading: str, rows: Mapping[str, str]) -> str:
    """Return the page with its tables filled. Raises `ValueError` when a row has no table."""
    left = dict(rows)

    def table(match: re.Match[str]) -> str:
        begin, patterns, end = match.groups()
        names = [name for name in left if any(fnmatch(name, p) for p in patterns.split())]
        return begin + (heading if names else '') + ''.join(map(left.pop, names)) + end

    filled = TABLE.sub(table, page)
    if left:
        raise ValueError(f'no table for {", ".join(left)}: add a pattern to a <!-- table: … -->')
    return filled


def alerts(rules: Path) -> str:
    """Return a section for each alert in the files of Prometheus's rules in a folder."""
    import yaml  # `make run` installs it; no worker needs it

    sections = []
    for path in sorted(rules.glob('*.yml')):
        for group in yaml.safe_load(path.read_text())['groups']:
            sections.append(f'\n## Alerts: {group["name"]}\n')
            for rule in group['rules']:
                notes = {
                    name: PLACEHOLDER.sub(r'*\1*', text).strip()
                    for name, text in rule['annotations'].items()
                }
                duration = f', after {rule["for"]}' if 'for' in rule else ''
                head = f'`{rule["labels"]["severity"]}`{duration}: {notes["summary"]}'
                meaning = fill_text(notes['description'], WIDTH, break_on_hyphens=False)
                text = f'{head}\n\n{meaning}\n\n{notes["runbook"]}\n'
                sections.append(f'\n### {rule["alert"]}\n\n{text}')
    return ''.join(sections) + '\n'


def _row(*cells: str) -> str:
    return f'| {" | ".join(cells)} |\n'


def _metric_row(name: str, kind: str, labels: Any, what: str) -> str:
    return _row(f'`{{prefix}}_{name}`', kind, ', '.join(f'`{label}`' for label in labels), what)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return 'must be set'
    default = field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return f'`{default}`'.lower()
    return f'`{default}`' if default not in (None, '', {}) else 'unset'


def _description(settings_class: type[Settings], name: str) -> str:
    # A subclass that changes the default alone has no text of its own.
    for each in settings_class.__mro__:
        field = getattr(each, 'model_fields', {}).get(name)
        if field and field.description:
            return ' '.join(field.description.split())
    return ''


def main(app: str, folder: str, rules: str = '') -> None:
    """Write the tables of the pages.

    Arguments:
        app: the module that imports the service's settings, tasks and metrics.
        folder: has the pages.
        rules: folder of Prometheus's rules, for runbook.md; without it that page stays as it is.
    """
    with tempfile.TemporaryDirectory() as metrics_folder:
        os.environ['PROMETHEUS_MULTIPROC_DIR'] = metrics_folder
        import_module(app)
        config = current()
        for name, columns, rows in (
            ('settings.md', ('variable', 'default', 'meaning'), settings(type(config))),
            ('metrics.md', ('metric', 'type', 'labels', 'what'), metrics(config)),
        ):
            page = Path(folder) / name
            heading = _row(*columns) + _row(*('---' for _ in columns))
            page.write_text(fill(page.read_text(), heading, rows))
    if rules:
        page = Path(folder) / 'runbook.md'
        sections = alerts(Path(rules))
        page.write_text(ALERTS.sub(lambda m: m[1] + sections + m[2], page.read_text()))


if __name__ == '__main__':
    main(*sys.argv[1:])
