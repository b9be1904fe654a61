"""Commands about what the app needs: a look at all of it, and the tables of the history."""

from __future__ import annotations

from dataclasses import asdict

import click
from celery import Celery

from be_queue import extras
from be_queue.cli.group import as_json_option, example
from be_queue.cli.output import print_json, printable
from be_queue.doctor import examine
from be_queue.outage import CHECK_RESULT_DB, brief


@example('be-queue -A shop.app doctor')
@as_json_option
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
            click.secho(f'{finding.check}: {printable(finding.fault) or note}', fg=colour)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.fault for finding in findings):
        raise SystemExit(1)


@example('be-queue migrate')
@as_json_option
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
        print_json({'revision': revision})
    else:
        click.echo(f'the tables of the history have revision {revision}')
