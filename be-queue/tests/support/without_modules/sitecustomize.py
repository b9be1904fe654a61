"""Python without some modules, for every process with this folder in PYTHONPATH."""

import os
import sys

for name in os.environ['WITHOUT_MODULES'].split():
    sys.modules[name] = None
