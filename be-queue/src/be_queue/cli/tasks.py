"""Commands about tasks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from celery import Celery

from be_queue import operations
from be_queue.cli.group import as_json_option, example
from be_queue.cli.output import print_json, printable
from be_queue.dead_letter_queue import OperationError
from be_queue.redact import redact

#: The fields that the history knows of a task, and all that are shown.
SEEN_FIELDS = (
    *('state', 'queue', 'args', 'kwargs', 'attempt', 'parent_id'),
    *('sent_at', 'due_at', 'started_at', 'ended_at', 'worker'),
)
TASK_FIELDS = ('id', 'task', *SEEN_FIELDS, 'earlier_attempts', 'result', 'traceback')


@example("be-queue send add --args '[1, 2]'")
@click.argument('task')
@click.option('--args', 'args', default='[]', help='Positional arguments, a list in JSON.')
@click.option('--kwargs', 'kwargs', default='{}', help='Keyword arguments, an object in JSON.')
@as_json_option
@click.pass_obj
def send(app: Celery, task: str, args: str, kwargs: str, as_json: bool) -> None:
    """Send a task, and print its id."""
    sent = app.send_task(task, _json('--args', args, list), _json('--kwargs', kwargs, dict))
    _print_sent(as_json, sent.id)


@example('be-queue task 0d3c2f6e-…')
@click.argument('task_id')
@as_json_option
@click.pass_obj
def task(app: Celery, task_id: str, as_json: bool) -> None:
    """Show a task by its id: state, arguments, result or traceback.

    With a worker's history also one that still waits, when it was sent, and its earlier attempts.
    """
    fields = redact(_task_fields(app, task_id))
    if as_json:
        print_json(fields)
        return
    for each in fields.pop('earlier_attempts') or ():
        fields[f'attempt {each["number"]}'] = f'{each["exception"]}, ended {each["ended_at"]}'
    for name, value in fields.items():
        if value is not None:
            click.echo(printable(f'{name + ":":12}{value}'))


@example('be-queue retry 0d3c2f6e-…')
@click.argument('task_id')
@as_json_option
@click.pass_obj
def retry(app: Celery, task_id: str, as_json: bool) -> None:
    """Send a task that failed once more, with a new id, and print that."""
    _print_sent(as_json, operations.retry(app, task_id))


@example('be-queue revoke 0d3c2f6e-…')
@click.argument('task_id')
@as_json_option
@click.pass_obj
def revoke(app: Celery, task_id: str, as_json: bool) -> None:
    """Have workers skip a task that waits; not one whose result is ignored."""
    operations.revoke(app, task_id)
    print_json({'revoked': task_id}) if as_json else click.echo(f'revoked: {task_id}')


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
        'ended_at': fields['ended_at'] or (found.date_done and str(found.date_done)),
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


def _print_sent(as_json: bool, task_id: str) -> None:
    print_json({'id': task_id}) if as_json else click.echo(task_id)
