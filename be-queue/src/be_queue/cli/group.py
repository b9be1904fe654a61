"""The group of commands: how they find the app, and how they show errors."""

from __future__ import annotations

import sys
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from celery import Celery
from celery.app.utils import find_app
from celery.local import Proxy
from kombu.exceptions import OperationalError

from be_queue.errors import BeQueueError
from be_queue.redact import redact
from be_queue.transport.sqs_errors import ERRORS

__all__ = ['as_json_option', 'example', 'main', 'queue_argument', 'yes_option']


class Commands(click.Group):
    """Shows an expected failure in one line, and its commands in the order of the files."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # click ends quietly, as for `be-queue watch --json | head`
        except (BeQueueError, OperationalError, *ERRORS) as error:
            raise click.ClickException(str(redact(f'{error}'))) from error


def version() -> str:
    """Return the library's version; it is unknown where only its folder was copied to."""
    try:
        return metadata.version('be-queue')
    except metadata.PackageNotFoundError:
        return 'unknown'


@click.group(cls=Commands)
@click.option(
    '-A',
    '--app',
    'path',
    envvar='BE_QUEUE_APP',
    default='app.celery_app',
    show_default=True,
    show_envvar=True,
    help='The module of the Celery app, as for `celery -A`.',
)
@click.version_option(version())
@click.pass_context
def main(context: click.Context, path: str) -> None:
    """Look at the queues, dead letters and tasks of a Celery app on SQS, and act on them.

    Begin with `be-queue doctor`. QUEUE is a queue's name on SQS, or its end after a dash.

    Exit codes: 0 done, 1 it could not be done or nothing was found, 2 wrong usage.
    """
    # Loaded by the first look at it: help needs no app.
    context.obj = Proxy(cache(partial(_load, path)))


def _load(path: str) -> Celery:
    sys.path.insert(0, str(Path.cwd()))
    try:
        app: Celery = find_app(path)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f'-A {path}: {error}; name the module of your Celery app') from error
    # A worker's own transport counts in its metrics.
    app.conf.broker_transport = 'be_queue.transport:Transport'
    return app


def example(line: str) -> Any:
    """Add a command to `main`, with an example below its help."""
    return main.command(epilog=f'Example: {line}')


as_json_option = click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
queue_argument = click.argument('queue')
yes_option = click.option('--yes', is_flag=True, help='Do not ask.')
