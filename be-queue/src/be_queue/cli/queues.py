"""Commands about queues and their dead letters."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import click
from celery import Celery
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from be_queue import operations
from be_queue.cli.group import as_json_option, example, queue_argument, yes_option
from be_queue.cli.output import add_row, console, print_json, table_of
from be_queue.operations import Depth
from be_queue.redact import redact

DEPTH_FIELDS = ('queue', 'visible', 'in_flight', 'delayed', 'dead_letters')


@example('be-queue status --json')
@as_json_option
@click.pass_obj
def status(app: Celery, as_json: bool) -> None:
    """Show how many messages each queue has."""
    depths = _depths(app)
    if as_json:
        print_json(_all_fields(depths))
    else:
        console.print(_status_table(depths))


@example('be-queue watch --interval 10')
@click.option(
    '--interval',
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help='Seconds between two looks.',
)
@as_json_option
@click.pass_obj
def watch(app: Celery, interval: float, as_json: bool) -> None:
    """Show the status again and again, until Ctrl-C.

    With --json, each look is a line: {"time": ..., "queues": [...]}.
    """
    if as_json:
        for looked_at in _looks(interval):
            print_json({'time': looked_at, 'queues': _all_fields(_depths(app))})
        return
    with Live(console=console, auto_refresh=False) as live:
        for _ in _looks(interval):
            live.update(_status_table(_depths(app)), refresh=True)


def _looks(interval: float) -> Iterator[str]:
    """Yield the time now and after each ``interval``, until Ctrl-C; a second one ends all."""
    stopped = threading.Event()

    def stop(*_: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    # Python's handler raises KeyboardInterrupt anywhere, also in a callback that swallows it.
    signal.signal(signal.SIGINT, stop)
    while not stopped.is_set():
        yield datetime.now(timezone.utc).isoformat(timespec='milliseconds')
        stopped.wait(interval)


@example('be-queue peek images-thumbnail -n 5')
@queue_argument
@click.option('-n', '--count', default=20, show_default=True, help='Dead letters at most.')
@as_json_option
@click.pass_obj
def peek(app: Celery, queue: str, count: int, as_json: bool) -> None:
    """Show the dead letters of a queue, which stay where they are."""
    letters = operations.find_queue(app, queue).dead_letter_queue().peek(count)
    if as_json:
        print_json([redact(asdict(letter)) for letter in letters])
        return
    table = table_of('sent', 'message', 'task', 'task id', 'arguments', 'receives', 'reason')
    for letter in letters:
        add_row(
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
@as_json_option
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
        total = None
        for moved in dead_letters.redrive(ids):
            # A move of SQS that runs already has moved some before.
            total = total or moved + there
            progress.update(bar, completed=moved, total=total)
    _done(as_json, 'redriven', found.name, moved, ids)


@example('be-queue delete images-thumbnail 0d3c2f6e-…')
@queue_argument
@click.argument('ids', nargs=-1, required=True)
@yes_option
@as_json_option
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
@as_json_option
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
    table = table_of('queue', 'visible', 'in flight', 'delayed', 'dead letters')
    for name, depth in depths.items():
        if depth is None:
            add_row(table, name, 'does not exist')
        else:
            dead = 'no queue' if depth.dead_letters is None else depth.dead_letters
            add_row(table, name, depth.visible, depth.in_flight, depth.delayed, dead)
    return table


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _done(as_json: bool, done: str, queue: str, count: int, ids: Sequence[str] = ()) -> None:
    if as_json:
        print_json({'queue': queue, done: count})
    else:
        click.echo(f'{done}: queue={queue} messages={count}')
    if ids and not count:
        raise click.ClickException(f'no dead letter of {queue} has one of these ids')
