"""Tests of the template itself; `make new` removes them."""

from __future__ import annotations

import sys
from pathlib import Path

# They share helpers with the library's tests.
sys.path.insert(0, str(Path(__file__).parents[2] / 'be-queue'))

from tests.support import prometheus

# Needs a program that no wheel has; CI has it.
collect_ignore = [] if prometheus.INSTALLED else ['test_deploy_promtool.py']
