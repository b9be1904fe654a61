"""Runs the web server and the worker side by side; locally an SQS server and the monitor too."""

from __future__ import annotations

import importlib
import logging
import socket
import sys

from be_queue import Queues
from be_queue.worker import local, logs, preflight, vault
from be_queue.worker.settings import Settings
from be_queue.worker.start_error import StartError
from be_queue.worker.supervisor import Child, Supervisor

__all__ = ['serve']

logger = logging.getLogger(__name__)


def serve(config: Settings, queues: Queues, *, web: str, worker: str, monitor: str) -> int:
    """Run until told to stop or until a child ends; return the exit status.

    Arguments:
        config: the worker's settings.
        queues: the mapping, to tell which task comes from which queue.
        web: the Flask app, as gunicorn is told: ``module:create_app()``.
        worker: the module with the Celery app ``app``, as ``celery --app`` is told; of the
            scheduler too, which starts when there is a schedule and `Settings.runs_scheduler`.
        monitor: the module that ``python -m`` runs; started locally, where results are in a
            database.

    Raises `StartError` and `be_queue.BeQueueError` when something is not as it must be.
    """
    logs.setup(config, 'server')
    preflight.prepare_metrics_directory(config.prometheus_multiproc_dir)
    with Supervisor() as supervisor:
        with supervisor.interruptible():
            vault.check(config)
        with preflight.listen(config.host, config.server_port) as listener:
            if not _sqs_answers(config, supervisor):
                return supervisor.run()
            with supervisor.interruptible():
                # Only now, since it takes a moment: the worker's app, with the tasks and whatever
                # they import. A mapping that they do not fit stops us here, in one line.
                from be_queue.worker import scheduler
                from be_queue.worker.ratelimit.plan import check_service

                app = importlib.import_module(worker).app
                endpoint = preflight.declare_queues(app)
                check_service(config, app.conf.broker_transport_options['ratelimits'])
                is_scheduled = bool(config.runs_scheduler and app.conf.beat_schedule)
                if is_scheduled:
                    scheduler.check(app)
                in_database = app.conf.result_backend.startswith('db+')
                if not config.is_local:
                    preflight.check_monitor(app, monitor)
                if in_database:
                    preflight.prepare_history(app, is_local=config.is_local)
            children = [_web(web, listener)]
            if config.is_local and app.conf.PLATFORM_QUEUE_NAME and in_database:
                children.append(Child('monitor', [sys.executable, '-m', monitor]))
            url = _url(listener)
            supervisor.start(*children)
        consumers = [_worker(worker, config, app.conf.worker_soft_shutdown_timeout)]
        if is_scheduled:
            consumers.append(_scheduler(worker, config))
        supervisor.start(*consumers)
        if supervisor.wait_until(lambda: _is_ready(url)):
            _announce(queues, url, endpoint)
        return supervisor.run()


def _sqs_answers(config: Settings, supervisor: Supervisor) -> bool:
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


def _web(flask_app: str, listener: socket.socket) -> Child:
    descriptor = listener.fileno()
    command = [sys.executable, '-m', 'gunicorn', flask_app]
    options = {
        '--bind': f'fd://{descriptor}',
        # Even with WEB_CONCURRENCY: each would ask SQS for the depths of the queues.
        '--workers': '1',
        '--threads': '4',
        '--log-level': 'warning',
        '--logger-class': 'be_queue.worker.logs.gunicorn.Logger',
        '--graceful-timeout': '3',
    }
    flags = [part for option in options.items() for part in option]
    return Child('web', [*command, *flags, '--no-control-socket'], pass_fds=[descriptor])


def _worker(module: str, config: Settings, soft_shutdown: float) -> Child:
    command = [sys.executable, '-m', 'celery', '--quiet', '--app', module, 'worker']
    command += [f'--loglevel={config.log_level}']
    # These need fanout, which SQS does not have.
    command += ['--without-gossip', '--without-mingle', '--without-heartbeat']
    # No grace: the sender of the signal decides how long running tasks may take.
    return Child(
        'worker',
        command,
        grace=None,
        # Celery lets tasks go on for so long. Then it ends them and hands their messages back.
        haste=soft_shutdown + 10,
    )


def _scheduler(module: str, config: Settings) -> Child:
    command = [sys.executable, '-m', 'celery', '--quiet', '--app', module, 'beat']
    return Child('scheduler', [*command, f'--loglevel={config.log_level}'])


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host)
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


def _is_ready(url: str) -> bool:
    try:
        with local.open_url(f'{url}/readyz', timeout=2):
            return True
    except OSError:
        return False


def _announce(queues: Queues, url: str, endpoint: str) -> None:
    logger.info('ready: dashboard %s/ metrics %s/metrics', url, url)
    for queue in filter(lambda queue: queue.consume, queues):
        logger.info('task %s comes from queue %s', queue.task, queues.sqs_name(queue))
    logger.info('the queues are on %s', endpoint)
    if command := local.first_task_command(queue.task for queue in queues):
        logger.info('send a first task: %s', command)
