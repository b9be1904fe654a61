"""Starts the web server and the worker side by side; locally an SQS server and the monitor too.

python3 app/server.py
"""

import os
import signal
import sys
from pathlib import Path

if __name__ == '__main__':
    # Until the supervisor is there. Process 1 of a container has no default action for signals:
    # one that came during the imports would be lost.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Run as a script, Python looks for modules in app/, where config, web and tasks would be found
    # as top-level names and app would not.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from be_queue.worker import in_one_line, serve

with in_one_line():
    from app.config.configuration import load_config
    from app.config.queues import QUEUES


def main() -> int:
    """Run until told to stop or until a child ends; return the exit status."""
    with in_one_line():
        return serve(
            load_config(),
            QUEUES,
            web='app.web:create_app()',  # gunicorn
            worker='app.worker',  # celery --app
            monitor='app.monitor',  # python -m, locally
        )


if __name__ == '__main__':
    sys.exit(main())
