"""The actions of the command ``be-queue``, by the dashboard.

The pages send forms, with the macros of ``templates/_actions.html``. A script sends the same fields
with the header ``Authorization: Bearer <ADMIN_TOKEN>``, and gets one line of text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from celery import Celery
from flask import Blueprint, Response, flash, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from kombu.exceptions import OperationalError
from wtforms import ValidationError  # type: ignore[import-untyped]

from be_queue import operations
from be_queue.dead_letter_queue import DeadLetterQueue, OperationError
from be_queue.errors import BeQueueError
from be_queue.operations import find_queue
from be_queue.outage import brief
from be_queue.redact import redact
from be_queue.transport.sqs_errors import ERRORS
from be_queue.worker.web.access import Access
from be_queue.worker.web.jobs import Job, Jobs

__all__ = ['actions']

logger = logging.getLogger(__name__)

OFF = 'Actions are off: set ADMIN_TOKEN.'
NO_TOKEN = 'This needs ADMIN_TOKEN: give it at /admin, or in a header Authorization: Bearer.'
WRONG_TOKEN = 'This is not the ADMIN_TOKEN of this worker.'
NO_FORM = 'Nothing was done: go back, reload the page and try again.'
#: An action on dead letters, and how it does its steps: each yields how many are done.
Steps = Callable[[DeadLetterQueue, Sequence[str]], Iterator[int]]


def actions(celery_app: Celery, access: Access) -> Blueprint:
    """Return the routes. An expected failure is shown in one line, and logged."""
    routes = access.protect(Blueprint('actions', __name__))
    jobs = Jobs()
    routes.app_context_processor(lambda: {'job_of': jobs.get})

    @routes.before_request
    def check() -> ResponseReturnValue | None:
        if not access.actions_enabled:
            return _line(OFF, 403)
        if request.endpoint != 'actions.admin' and not access.is_admin:
            return refused(WRONG_TOKEN if _is_script() else NO_TOKEN)
        if request.method == 'POST' and not access.has_token:
            try:
                access.check_form()
            except ValidationError as error:
                return refused(f'{error} {NO_FORM}', 400)
        return None

    @routes.route('/admin', methods=['GET', 'POST'])
    def admin() -> ResponseReturnValue:
        if request.method == 'GET':
            return render_template('actions/admin.html')
        if not access.is_token(request.form.get('token', '')):
            return refused(WRONG_TOKEN)
        session['is_admin'] = True
        return done('admin', 'You may act now, until you leave or close the browser.')

    @routes.post('/admin/leave')
    def leave() -> ResponseReturnValue:
        session.clear()
        return redirect(f'{request.script_root}{_back()}', 303)

    @routes.post('/actions/redrive')
    def redrive() -> ResponseReturnValue:
        return on_dead_letters('redriven', DeadLetterQueue.redrive)

    @routes.post('/actions/delete')
    def delete() -> ResponseReturnValue:
        if is_unconfirmed():
            return confirm(f'Delete {len(_ids())} dead letters of {request.form["queue"]}?')
        return on_dead_letters('deleted', lambda letters, ids: iter([letters.delete(ids)]))

    @routes.post('/actions/purge')
    def purge() -> ResponseReturnValue:
        queue, of_dead_letters = _queue(celery_app), 'dead_letters' in request.form
        what = f'dead letters of {queue.name}' if of_dead_letters else f'messages of {queue.name}'
        if is_unconfirmed():
            depth = queue.depth()
            count = depth and (depth.dead_letters if of_dead_letters else depth.visible)
            return confirm(f'Delete all {what}, about {count or 0:,}?')
        (queue.dead_letter_queue() if of_dead_letters else queue).purge()
        return done('purged', f'All {what} are being deleted: SQS takes up to 60 seconds.')

    @routes.post('/actions/retry')
    def retry() -> ResponseReturnValue:
        new_id = operations.retry(celery_app, request.form['task_id'])
        return done('retried', f'Sent once more, as task {new_id}.', new_task_id=new_id)

    @routes.post('/actions/revoke')
    def revoke() -> ResponseReturnValue:
        operations.revoke(celery_app, request.form['task_id'])
        return done('revoked', 'Revoked: workers skip it, unless its result is ignored.')

    def on_dead_letters(action: str, steps: Steps) -> ResponseReturnValue:
        queue, ids = _queue(celery_app), _ids()
        if 'chosen' in request.form and not ids:
            raise OperationError('choose dead letters first')
        letters, fields = queue.dead_letter_queue(), about()

        def work(job: Job) -> None:
            try:
                for job.count in steps(letters, ids):
                    pass
            except Exception as error:  # noqa: BLE001  (it is shown, and logged)
                job.error = _explained(error)
            level = logging.WARNING if job.error else logging.INFO
            more = {'count': job.count} | ({'error': job.error} if job.error else {})
            logger.log(level, 'dead letters %s', action, extra={'action': action, **fields, **more})

        job = jobs.run(queue.name, action, work)
        if job is None:
            raise OperationError(f'an action on the dead letters of {queue.name} runs already')
        text = f'Dead letters {action}: {job.count:,}'
        if job.is_running:
            # Not the queue's page, which would hide dead letters from the job.
            return answer(f'{text} so far, it goes on.', back='/dead-letters')
        if job.error:
            return answer(f'{text}, and then {job.error}', 409)
        if ids and not job.count:
            return answer(f'No dead letter of {queue.name} has one of these ids.', 409)
        return answer(text)

    @routes.errorhandler(BeQueueError)
    @routes.errorhandler(OperationalError)
    def failed(error: Exception) -> ResponseReturnValue:
        text = _explained(error)
        fields = {'action': request.path, **about(), 'error': text}
        logger.warning('an action by the dashboard failed', extra=fields)
        return answer(f'Not done: {text}', 409)

    for each in ERRORS:
        routes.register_error_handler(each, failed)

    def about() -> dict[str, Any]:
        """Return what the form says and who sent it, as fields of a log line."""
        form = {name: request.form[name] for name in ('queue', 'task_id') if name in request.form}
        return form | ({'ids': ids} if (ids := _ids()) else {}) | access.who()

    def done(action: str, text: str, **fields: Any) -> ResponseReturnValue:
        logger.info('done by the dashboard', extra={'action': action, **about(), **fields})
        return answer(text)

    def refused(text: str, status: int = 403) -> ResponseReturnValue:
        fields = {'action': 'refused', 'path': request.path, **access.who()}
        logger.warning('an action by the dashboard is refused: %s', text, extra=fields)
        if _is_script():
            return _line(text, status)
        return render_template('actions/admin.html', refusal=text), status

    def answer(text: str, status: int = 200, back: str = '') -> ResponseReturnValue:
        if access.has_token:
            return _line(text, status)
        flash(text, 'bad' if status >= 400 else 'ok')
        return redirect(f'{request.script_root}{back or _back()}', 303)

    def is_unconfirmed() -> bool:
        return 'confirmed' not in request.form and not access.has_token

    def confirm(question: str) -> ResponseReturnValue:
        fields = [item for item in request.form.items(multi=True) if item[0] != 'csrf_token']
        return render_template(
            'actions/confirm.html',
            question=question,
            fields=fields,
            back=request.script_root + _back(),
        )

    return routes


def _is_script() -> bool:
    return bool(request.authorization and request.authorization.type == 'bearer')


def _line(text: str, status: int) -> Response:
    return Response(f'{text}\n', status, mimetype='text/plain')


def _queue(celery_app: Celery) -> operations.ManagedQueue:
    return find_queue(celery_app, request.form['queue'])


def _ids() -> list[str]:
    return request.form.getlist('ids')


def _back() -> str:
    """Return the path of what the form is about: a page does not tell its own."""
    if queue := request.form.get('queue'):
        return f'/dead-letters/{quote(queue, safe="")}'
    if task_id := request.form.get('task_id'):
        return f'/tasks/{quote(task_id, safe="")}'
    return '/'


def _explained(error: Exception) -> str:
    return str(redact(str(error))) if isinstance(error, BeQueueError) else brief(error)
