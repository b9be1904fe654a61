"""Prometheus metrics that are right across the pool's processes.

Each process keeps its values in files of its own under PROMETHEUS_MULTIPROC_DIR, and the web
server adds them up at every scrape. prometheus_client looks at that variable when it is first
imported, so import it, everywhere in this app, through this package.
"""

import os

from app.config.configuration import load_config

_folder = load_config().prometheus_multiproc_dir
_folder.mkdir(parents=True, exist_ok=True)
os.environ['PROMETHEUS_MULTIPROC_DIR'] = str(_folder)
