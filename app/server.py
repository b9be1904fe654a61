"""Starts the web server and the worker side by side; locally an SQS server and the monitor too.

python3 app/server.py
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import urllib.error
from pathlib import Path

if __name__ == '__main__':
    # Until the supervisor is there. Process 1 of a container has no default action for signals:
    # one that came during the imports would be lost.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

# Run as a script, Python looks for modules in app/, where config, web and tasks would be found as
# top-level names and app would not.
if __name__ == '__main__':
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from app.start_error import StartError, in_one_line

with in_one_line():
    from app.config.queues import QUEUES

from app import local, preflight
from app.celery_app import app
from app.child import Child
from app.config.configuration import ROOT, Config, WorkerConfig, load_config
from app.loopback import open_url
from app.supervisor import Supervisor
from app.utils import logs, vault
from app.utils.ratelimit.check import check_service

logger = logging.getLogger('app.server')


def main() -> int:
    """Run until told to stop or until a child ends; return the exit status."""
    with in_one_line():
        config = load_config()
        logs.setup(config, 'server')
        with Supervisor() as supervisor:
            return _run(config, supervisor)


def _run(config: Config, supervisor: Supervisor) -> int:
    preflight.prepare_metrics_directory(config.prometheus_multiproc_dir)
    with supervisor.interruptible():
        vault.check(config)
    with preflight.listen(config.host, config.server_port) as listener:
        url = _url(listener)
        if not _sqs_answers(config, supervisor):
            return supervisor.run()
        with supervisor.interruptible():
            # Not the worker's app: what the tasks import takes time and memory in the worker only,
            # which ends with one line when they do not fit the mapping.
            from app.config.celery_settings import worker_config

            endpoint = preflight.declare_queues(app)
            check_service(config, app.conf.broker_transport_options['ratelimits'])
        supervisor.start(_web(listener))
    if config.is_local and _has_monitor(worker_config, app.conf.result_backend):
        supervisor.start(_monitor())
    supervisor.start(_worker(config, app.conf.worker_soft_shutdown_timeout))
    if supervisor.wait_until(lambda: _is_ready(url)):
        _announce(url, endpoint)
    return supervisor.run()


def _sqs_answers(config: Config, supervisor: Supervisor) -> bool:
    """Start the embedded SQS server if it is wanted; False when we are stopped meanwhile."""
    port = config.embedded_sqs_port
    if port is None:
        return True
    if local.accepts_connections(port):
        if not local.is_sqs_server(port):
            raise StartError(
                f'port {port}, for the embedded SQS server, is taken by another program: stop it, '
                f'or set SQS_ENDPOINT_URL=embedded:{port + 1}, for producers too'
            )
        logger.info('using the SQS server that already runs on port %d', port)
        return True
    supervisor.start(local.embedded_sqs(port))
    return supervisor.wait_until(lambda: local.accepts_connections(port))


def _web(listener: socket.socket) -> Child:
    descriptor = listener.fileno()
    command = [sys.executable, '-m', 'gunicorn', 'app.web:create_app()']
    options = {
        '--bind': f'fd://{descriptor}',
        # Even with WEB_CONCURRENCY: each would ask SQS for the depths of the queues.
        '--workers': '1',
        '--threads': '4',
        '--log-level': 'warning',
        '--logger-class': 'app.utils.logs.gunicorn.Logger',
        '--graceful-timeout': '3',
    }
    flags = [part for option in options.items() for part in option]
    return Child(
        'web', [*command, *flags, '--no-control-socket'], folder=ROOT, pass_fds=[descriptor]
    )


def _worker(config: Config, soft_shutdown: float) -> Child:
    command = [sys.executable, '-m', 'celery', '--quiet', '--app', 'app.worker', 'worker']
    # Gossip, mingle and heartbeats need fanout, which SQS does not have.
    flags = ['--without-gossip', '--without-mingle', '--without-heartbeat']
    level = f'--loglevel={config.log_level}'
    # No grace: how long running tasks may take is for whoever sent the signal to say.
    return Child(
        'worker',
        [*command, level, *flags],
        folder=ROOT,
        grace=None,
        # Celery lets tasks go on for so long. Then it ends them and hands their messages back.
        haste=soft_shutdown + 10,
    )


def _has_monitor(worker_config: WorkerConfig, result_backend: str) -> bool:
    return bool(worker_config.PLATFORM_QUEUE_NAME) and result_backend.startswith('db+')


def _monitor() -> Child:
    return Child('monitor', [sys.executable, '-m', 'app.monitor'], folder=ROOT)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host)
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


def _is_ready(url: str) -> bool:
    try:
        with open_url(f'{url}/readyz', timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _announce(url: str, endpoint: str) -> None:
    logger.info('ready: dashboard %s/ metrics %s/metrics', url, url)
    for queue in filter(lambda queue: queue.consume, QUEUES):
        logger.info('task %s comes from queue %s', queue.task, QUEUES.sqs_name(queue))
    logger.info('the queues are on %s', endpoint)
    if command := local.first_task_command(queue.task for queue in QUEUES):
        logger.info('send a first task: %s', command)


if __name__ == '__main__':
    sys.exit(main())
