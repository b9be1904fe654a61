"""``/dead-letters``: how many each queue has, and a page for each queue that reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery import Celery
from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from be_queue.dead_letter_queue import ARGUMENTS, DeadLetter
from be_queue.operations import find_queue
from be_queue.redact import redact, redact_repr, redact_text
from be_queue.worker.web.dashboard.page import Pages
from be_queue.worker.web.depths import DepthPoller
from be_queue.worker.web.health import Check

__all__ = ['add_pages']

#: SQS has no pages: these are the first that it finds.
LETTERS_SHOWN = 50


def add_pages(
    routes: Blueprint,
    pages: Pages,
    queues: Mapping[str, str],
    celery_app: Celery,
    depths: DepthPoller,
    shows_arguments: bool,
) -> None:
    """Add the routes. A queue's page hides its dead letters from other readers for a moment.

    Arguments:
        queues: the task of each queue.
        shows_arguments: whether to show messages and arguments.
    """
    asked = Check('depths', depths.poll)

    @routes.get('/dead-letters')
    def dead_letters() -> str:
        pages.faults(asked)
        return render_template('dashboard/dead_letters.html', queues=queues, depth=depths.depth)

    @routes.get('/dead-letters/<queue>')
    def dead_letters_of(queue: str) -> ResponseReturnValue:
        if queue not in queues:
            abort(404)

        def peek() -> list[tuple[DeadLetter, str]]:
            letters = find_queue(celery_app, queue).dead_letter_queue().peek(LETTERS_SHOWN)
            if not shows_arguments:
                return [(replace(letter, args=''), '') for letter in letters]
            return [(letter, _readable(letter.body)) for letter in letters]

        letters, fault = pages.read(peek, 'broker')
        html = render_template(
            'dashboard/dead_letters_of.html',
            queue=queue,
            task=queues[queue],
            letters=letters or [],
            limit=LETTERS_SHOWN,
            depth=depths.depth(queue),
            fault=fault,
        )
        return html, 503 if fault else 200


def _readable(body: str) -> str:
    """Return a message's body with its arguments decoded and its secrets masked."""
    try:
        message: Any = _parsed(body)
        headers = message['headers']
        headers |= {name: redact_repr(str(headers[name])) for name in ARGUMENTS if name in headers}
        message['body'] = _parsed(message['body'])
    except (ValueError, LookupError, TypeError):  # no message of Celery's
        return redact_text(body)
    return json.dumps(redact(message), indent=2, ensure_ascii=False)


def _parsed(text: str) -> Any:
    """Return what JSON says, which may be in base64."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(base64.b64decode(text, validate=True))
