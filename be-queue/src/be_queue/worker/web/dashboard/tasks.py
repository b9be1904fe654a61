"""``/tasks``: the list of tasks with its filters, and a page for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from urllib.parse import quote

from celery import states
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from be_queue.worker.history import Filter, History, Page, Task
from be_queue.worker.web.dashboard.page import Pages

__all__ = ['HistoryWithoutArguments', 'add_pages']

STATES = (
    states.PENDING,
    states.STARTED,
    states.RETRY,
    states.SUCCESS,
    states.FAILURE,
    states.REVOKED,
)


class HistoryWithoutArguments(History):
    """For DASHBOARD_ARGUMENTS=false: results and tracebacks are left out as well."""

    def page(self, chosen: Filter | None = None, after: str | None = None, count: int = 50) -> Page:
        page = super().page(chosen, after, count)
        return replace(page, tasks=[_bare(task) for task in page.tasks])

    def find(self, task_id: str) -> Task | None:
        task = super().find(task_id)
        return task and _bare(task)

    def children(self, task_id: str, count: int = 50) -> list[Task]:
        return [_bare(task) for task in super().children(task_id, count)]


def _bare(task: Task) -> Task:
    return replace(task, args='', kwargs='', result='', traceback='')


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
        given = {name: value for name in request.args if (value := request.args[name].strip())}
        if task_id := given.get('id'):
            return redirect(url_for('.task', task_id=task_id))
        after = given.pop('after', None)
        found: Page | None = None
        fault: str | None
        try:
            chosen = _filter(given)
        except ValueError as error:
            fault, status = str(error), 400
        else:
            found, fault = pages.read(lambda: history.page(chosen, after), 'results')
            status = 503 if fault else 200
        html = render_template(
            'dashboard/tasks.html',
            page=found,
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
        def find() -> tuple[Task | None, list[Task]]:
            return history.find(task_id), history.children(task_id)

        found, fault = pages.read(find, 'results')
        known, children = found or (None, [])
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
    return Filter(
        state=given.get('state', ''),
        name=given.get('name', ''),
        queue=given.get('queue', ''),
        since=_moment(given.get('since')),
        until=_moment(given.get('until')),
    )


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
