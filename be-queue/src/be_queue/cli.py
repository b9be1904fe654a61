"""The command ``be-queue``: looks at queues, dead letters and tasks, and acts on them.

Exit codes: 0 done, 1 it could not be done or nothing was found, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
from celery import Celery
from celery.app.utils import find_app
from celery.local import Proxy
from kombu.exceptions import OperationalError
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from be_queue import extras, operations
from be_queue.dead_letter_queue import OperationError
from be_queue.doctor import examine
from be_queue.errors import BeQueueError
from be_queue.operations import Depth
from be_queue.outage import CHECK_RESULT_DB, brief
from be_queue.redact import redact
from be_queue.transport.sqs_errors import ERRORS

__all__ = ['main']

# A pipe has no width to fit.
console = Console(width=None if sys.stdout.isatty() else 1000)


DEPTH_FIELDS = ('queue', 'visible', 'in_flight', 'delayed', 'dead_letters')


#: What the monitor sees of a task, and all that is shown of one.
SEEN_FIELDS = (
    *('state', 'queue', 'args', 'kwargs', 'attempt', 'parent_id'),
    *('sent_at', 'due_at', 'started_at', 'worker'),
)
TASK_FIELDS = ('id', 'task', *SEEN_FIELDS, 'ended_at', 'earlier_attempts', 'result', 'traceback')


class Commands(click.Group):
    """Shows an expected failure in one line, and its commands in the order of this file."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # click ends quietly, as for `be-queue watch --json | head`
        except (BeQueueError, OperationalError, *ERRORS) as error:
            raise click.ClickException(str(redact(f'{error}'))) from error


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
@click.version_option(package_name='be-queue')
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


as_json = click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
queue_argument = click.argument('queue')
yes_option = click.option('--yes', is_flag=True, help='Do not ask.')


@example('be-queue status --json')
@as_json
@click.pass_obj
def status(app: Celery, as_json: bool) -> None:
    """Show how many messages each queue has."""
    depths = _depths(app)
    if as_json:
        _print_json(_all_fields(depths))
    else:
        console.print(_status_table(depths))


@example('be-queue watch --interval 10')
@click.option('--interval', default=2.0, show_default=True, help='Seconds between two looks.')
@as_json
@click.pass_obj
def watch(app: Celery, interval: float, as_json: bool) -> None:
    """Show the status again and again, until Ctrl-C.

    With --json, each look is a line: {"time": ..., "queues": [...]}.
    """
    while as_json:
        looked_at = datetime.now(timezone.utc).isoformat(timespec='milliseconds')
        _print_json({'time': looked_at, 'queues': _all_fields(_depths(app))})
        time.sleep(interval)
    with Live(_status_table(_depths(app)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(_status_table(_depths(app)), refresh=True)


@example('be-queue peek images-thumbnail -n 5')
@queue_argument
@click.option('-n', '--count', default=20, show_default=True, help='Dead letters at most.')
@as_json
@click.pass_obj
def peek(app: Celery, queue: str, count: int, as_json: bool) -> None:
    """Show the dead letters of a queue, which stay where they are."""
    letters = operations.find_queue(app, queue).dead_letter_queue().peek(count)
    if as_json:
        _print_json([redact(asdict(letter)) for letter in letters])
        return
    table = _table('sent', 'message', 'task', 'task id', 'arguments', 'receives', 'reason')
    for letter in letters:
        _add_row(
            table,
            f'{letter.sent_at:%Y-%m-%d %H:%M:%S}',
            letter.message_id,
            letter.task,
            letter.task_id,
            redact(letter.args),
            letter.receives,
            letter.reason or 'received too often',
        )
    console.print(table)


@example('be-queue redrive images-thumbnail')
@queue_argument
@click.argument('ids', nargs=-1)
@as_json
@click.pass_obj
def redrive(app: Celery, queue: str, ids: Sequence[str], as_json: bool) -> None:
    """Move dead letters back to their queue: all, or by ids.

    IDS are of messages or of tasks, as `be-queue peek` shows them. Nothing is lost when it is
    interrupted; run it again for the others.
    """
    found, moved = operations.find_queue(app, queue), 0
    dead_letters, depth = found.dead_letter_queue(), found.depth()
    there = len(ids) or (depth.dead_letters if depth else 0) or 0
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task(f'redriving {found.name}', total=None)
        for number, moved in enumerate(dead_letters.redrive(ids)):
            # A move of SQS that runs already has moved some before.
            total = None if number else moved + there
            progress.update(bar, completed=moved, total=total)
    _done(as_json, 'redriven', found.name, moved, ids)


@example('be-queue delete images-thumbnail 0d3c2f6e-…')
@queue_argument
@click.argument('ids', nargs=-1, required=True)
@yes_option
@as_json
@click.pass_obj
def delete(app: Celery, queue: str, ids: Sequence[str], yes: bool, as_json: bool) -> None:
    """Delete dead letters of a queue, by ids of messages or tasks."""
    found = operations.find_queue(app, queue)
    _confirm(yes, f'Delete up to {len(ids)} dead letters of {found.name}?')
    _done(as_json, 'deleted', found.name, found.dead_letter_queue().delete(ids), ids)


@example('be-queue purge images-thumbnail --dead-letters')
@queue_argument
@click.option('--dead-letters', is_flag=True, help='Purge its dead-letter queue instead.')
@yes_option
@as_json
@click.pass_obj
def purge(app: Celery, queue: str, dead_letters: bool, yes: bool, as_json: bool) -> None:
    """Delete all messages of a queue. SQS takes up to 60 seconds for it."""
    found = operations.find_queue(app, queue)
    depth = found.depth()
    count = (depth.dead_letters if dead_letters else depth.visible) if depth else None
    what = f'the dead-letter queue of {found.name}' if dead_letters else found.name
    _confirm(yes, f'Delete about {count or 0:,} messages of {what}?')
    (found.dead_letter_queue() if dead_letters else found).purge()
    _done(as_json, 'purged', found.name, count or 0)


@example("be-queue send add --args '[1, 2]'")
@click.argument('task')
@click.option('--args', 'args', default='[]', help='Positional arguments, a list in JSON.')
@click.option('--kwargs', 'kwargs', default='{}', help='Keyword arguments, an object in JSON.')
@as_json
@click.pass_obj
def send(app: Celery, task: str, args: str, kwargs: str, as_json: bool) -> None:
    """Send a task, and print its id."""
    sent = app.send_task(task, _json('--args', args, list), _json('--kwargs', kwargs, dict))
    _print_sent(as_json, sent.id)


@example('be-queue task 0d3c2f6e-…')
@click.argument('task_id')
@as_json
@click.pass_obj
def task(app: Celery, task_id: str, as_json: bool) -> None:
    """Show a task by its id: state, arguments, result or traceback.

    With a worker's history also one that still waits, when it was sent, and its earlier attempts.
    """
    fields = redact(_task_fields(app, task_id))
    if as_json:
        _print_json(fields)
        return
    for each in fields.pop('earlier_attempts') or ():
        fields[f'attempt {each["number"]}'] = f'{each["exception"]}, ended {each["ended_at"]}'
    for name, value in fields.items():
        if value is not None:
            click.echo(_printable(f'{name + ":":10} {value}'))


@example('be-queue retry 0d3c2f6e-…')
@click.argument('task_id')
@as_json
@click.pass_obj
def retry(app: Celery, task_id: str, as_json: bool) -> None:
    """Send a task that failed once more, with a new id, and print that."""
    _print_sent(as_json, operations.retry(app, task_id))


@example('be-queue revoke 0d3c2f6e-…')
@click.argument('task_id')
@as_json
@click.pass_obj
def revoke(app: Celery, task_id: str, as_json: bool) -> None:
    """Have workers skip a task that waits; not one whose result is ignored."""
    operations.revoke(app, task_id)
    _print_json({'revoked': task_id}) if as_json else click.echo(f'revoked: {task_id}')


@example('be-queue migrate')
@as_json
@click.pass_obj
def migrate(app: Celery, as_json: bool) -> None:
    """Make or update the tables of the history in the result database."""
    if fault := extras.fault('worker', 'be-queue migrate is for workers'):
        raise click.ClickException(fault)
    from sqlalchemy.exc import SQLAlchemyError

    from be_queue.worker import history

    try:
        revision = history.migrate(app)
    except SQLAlchemyError as error:
        raise click.ClickException(f'{brief(error)}: check {CHECK_RESULT_DB}') from error
    if as_json:
        _print_json({'revision': revision})
    else:
        click.echo(f'the tables of the history have revision {revision}')


@example('be-queue -A shop.app doctor')
@as_json
@click.pass_obj
def doctor(app: Celery, as_json: bool) -> None:
    """Check all that the app needs: a line each, with the fix.

    That is SQS, the clock, each queue, the rights on it, and the result backend; of a worker also
    Vault, Sentry and the tracer, where they are set. The exit code is 1 when one has a fault.
    """
    findings = []
    for finding in examine(app):
        findings.append(finding)
        if not as_json:
            colour = 'red' if finding.fault else 'green'
            note = f'ok ({finding.note})' if finding.note else 'ok'
            click.secho(f'{finding.check}: {_printable(finding.fault) or note}', fg=colour)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    if any(finding.fault for finding in findings):
        raise SystemExit(1)


def _depths(app: Celery) -> dict[str, Depth | None]:
    return {queue.name: queue.depth() for queue in operations.queues(app)}


def _all_fields(depths: dict[str, Depth | None]) -> list[dict[str, Any]]:
    return [
        {field: getattr(depth, field) for field in DEPTH_FIELDS}
        if depth
        else {'queue': name, 'missing': True}
        for name, depth in depths.items()
    ]


def _status_table(depths: dict[str, Depth | None]) -> Table:
    table = _table('queue', 'visible', 'in flight', 'delayed', 'dead letters')
    for name, depth in depths.items():
        if depth is None:
            _add_row(table, name, 'does not exist')
        else:
            dead = 'no queue' if depth.dead_letters is None else depth.dead_letters
            _add_row(table, name, depth.visible, depth.in_flight, depth.delayed, dead)
    return table


def _task_fields(app: Celery, task_id: str) -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(TASK_FIELDS) | {'id': task_id, 'attempt': 1}
    seen = _seen(app, task_id)
    if seen is not None:
        fields |= {
            'task': seen.name,
            'earlier_attempts': [asdict(attempt) for attempt in seen.earlier_attempts],
            **{name: getattr(seen, name) or None for name in SEEN_FIELDS},
        }
    try:
        found = operations.find_result(app, task_id)
    except OperationError:
        if seen is None:
            raise
        return fields
    stored = {
        'task': found.name,
        'state': found.state,
        'queue': found.queue,
        'args': found.args,
        'kwargs': found.kwargs,
        'attempt': max(fields['attempt'], (found.retries or 0) + 1),
        'ended_at': found.date_done and str(found.date_done),
        'result': _shown(found.result),
        'traceback': found.traceback,
    }
    return fields | {name: value for name, value in stored.items() if value is not None}


def _seen(app: Celery, task_id: str) -> Any:
    """Return what the monitor has written of a task, if anything."""
    try:
        from be_queue.worker.history import History

        history = History(app)
        try:
            return history.find(task_id)
        finally:
            history.engine.dispose()
    except Exception:  # noqa: BLE001  (no extra, no tables, or no database: the result says so)
        return None


def _shown(result: Any) -> Any:
    return f'{type(result).__name__}: {result}' if isinstance(result, Exception) else result


def _json(option: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f'{option} {text}: must be JSON: {error}') from error
    if not isinstance(value, kind):
        raise click.UsageError(f'{option} {text}: must be a {kind.__name__} in JSON')
    return value


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _print_sent(as_json: bool, task_id: str) -> None:
    _print_json({'id': task_id}) if as_json else click.echo(task_id)


def _done(as_json: bool, done: str, queue: str, count: int, ids: Sequence[str] = ()) -> None:
    if as_json:
        _print_json({'queue': queue, done: count})
    else:
        click.echo(f'{done}: queue={queue} messages={count}')
    if ids and not count:
        raise click.ClickException(f'no dead letter of {queue} has one of these ids')


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, default=str))


def _table(*columns: str) -> Table:
    return Table(*(Column(name, overflow='fold') for name in columns), box=None)


def _add_row(table: Table, *cells: Any) -> None:
    table.add_row(*(Text(_printable(str(cell))) for cell in cells))


def _printable(text: str) -> str:
    return ''.join(c if c.isprintable() or c == '\n' else '?' for c in text)
