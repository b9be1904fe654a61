"""docs/metrics.md lists every metric as the code defines it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from be_queue.testing.processes import NO_DOTENV
from tests.support.process import ROOT

PAGE = ROOT / 'docs' / 'metrics.md'

#: Prints a row for each metric, in a process of its own since other tests define metrics too.
ROWS = """
import pkgutil
import time
from importlib import import_module

from celery import Celery
from prometheus_client import REGISTRY

from app.config.configuration import load_config
import be_queue.worker.metrics
from be_queue.worker import heartbeat
from be_queue.worker.web.depths import Depth, DepthPoller
from be_queue.worker.web.metrics import ProcessCollector, registry_of

for module in pkgutil.iter_modules(be_queue.worker.metrics.__path__, 'be_queue.worker.metrics.'):
    import_module(module.name)
config = load_config()
pollers, load = {'q': heartbeat.Poller('idle', time.time())}, heartbeat.Load(1, 0, None, {'q': 0})
heartbeat.write(config.heartbeat_path, heartbeat.State.CONSUMING, pollers, load)
depths = DepthPoller(Celery(), config.prefix, ['q'])
depths.known['q'] = Depth(1, 1, 1, 1, time.monotonic())
processes = ProcessCollector(config.prometheus_multiproc_dir)

# A metric with labels has no samples as long as nothing is counted.
labels = {metric.describe()[0].name: metric._labelnames
          for metric in REGISTRY._collector_to_names if hasattr(metric, '_labelnames')}
kinds = {'counter': ('counter', '_total'), 'info': ('gauge', '_info')}
for family in (*REGISTRY.collect(), *registry_of(config, processes, depths).collect()):
    if family.name.startswith('other_'):
        kind, ending = kinds.get(family.type, (family.type, ''))
        name = '{prefix}' + family.name.removeprefix('other') + ending
        names = labels[family.name] if family.name in labels else family.samples[0].labels
        names = ', '.join(f'`{name}`' for name in names)
        print(f'| `{name}` | {kind} | {names} | {family.documentation} |')
"""


def test_the_page_lists_every_metric(tmp_path: Path) -> None:
    environment = {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path), 'METRICS_PREFIX': 'other'}
    rows = subprocess.run(
        [sys.executable, '-c', ROWS],
        cwd=ROOT,
        env=environment | NO_DOTENV,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith('| `{prefix}')]
    assert listed == sorted(set(rows.splitlines()), key=lambda row: row.split('`')[1])
