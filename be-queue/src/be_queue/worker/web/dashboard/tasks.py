"""``/tasks``: the list of tasks with its filters, and a page for each task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import quote

from celery import states
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from be_queue.worker.history import Filter, History, Page, Task
from be_queue.worker.history.pages import position
from be_queue.worker.web.dashboard.page import Pages

__all__ = ['add_pages']

STATES = (
    states.PENDING,
    states.STARTED,
    states.RETRY,
    states.SUCCESS,
    states.FAILURE,
    states.REVOKED,
)
#: Fields of a `Filter`, and of the form.
FIELDS = ('state', 'name', 'queue', 'since', 'until')


def add_pages(
    routes: Blueprint,
    pages: Pages,
    queues: Mapping[str, str],
    history: History,
    trace_url: str | None,
) -> None:
    """Add the routes. They answer 503, with the reason, when the history cannot be read.

    Arguments:
        queues: the task of each queue, which the filters offer.
        trace_url: as `Settings.trace_url`.
    """

    @routes.get('/tasks')
    def tasks() -> ResponseReturnValue:
        if task_id := request.args.get('id', '').strip():
            return redirect(url_for('.task', task_id=task_id))
        given = {name: value for name in FIELDS if (value := request.args.get(name, '').strip())}
        after = request.args.get('after')
        found: Page | None = None
        fault: str | None
        try:
            chosen = _filter(given)
            if after:
                position(after)
        except ValueError as error:
            fault, status = str(error), 400
        else:
            found, fault = pages.read(lambda: history.page(chosen, after), 'results')
            status = 503 if fault else 200
        html = render_template(
            'dashboard/tasks.html',
            tasks=pages.shown(found.tasks) if found else [],
            next=found and found.next,
            fault=fault,
            given=given,
            is_first=after is None,
            states=STATES,
            queues=queues,
        )
        return html, status

    # Ids may hold any characters.
    @routes.get('/tasks/<path:task_id>', merge_slashes=False)
    def task(task_id: str) -> ResponseReturnValue:
        def find() -> list[Task]:
            found = history.find(task_id)
            return pages.shown([found, *history.children(task_id)]) if found else []

        found, fault = pages.read(find, 'results')
        known, children = (found[0], found[1:]) if found else (None, [])
        html = render_template(
            'dashboard/task.html',
            task_id=task_id,
            task=known,
            children=children,
            fault=fault,
            trace_url=trace_url and trace_url.replace('{task_id}', quote(task_id, safe='')),
        )
        return html, 503 if fault else 200 if known else 404


def _filter(given: Mapping[str, str]) -> Filter:
    """Return what the form asks for. Raises ValueError for a time that is none."""
    texts = {name: given.get(name, '') for name in ('state', 'name', 'queue')}
    return Filter(**texts, since=_moment(given.get('since')), until=_moment(given.get('until')))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
