"""``/``: one page with the state of the worker, its queues and the latest tasks."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timezone

from flask import Blueprint, Response, make_response, render_template
from jinja2 import Undefined

from app.web.overview import Overview

__all__ = ['REFRESH', 'dashboard']

#: Seconds between two looks of an open page.
REFRESH = 3
#: What stands for a number that is not known.
UNKNOWN = '\N{EN DASH}'


def dashboard(gather: Callable[[], Overview]) -> Blueprint:
    """Return the route; the page is complete in itself and comes within a second."""
    routes = Blueprint('dashboard', __name__)
    for each in (number, duration, ago):
        routes.add_app_template_filter(each)

    @routes.get('/')
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        html = render_template('dashboard.html', view=gather(), refresh=REFRESH, nonce=nonce)
        answer = make_response(html)
        # Were a task's name or result ever to get through as markup, it still could do nothing.
        answer.headers['Content-Security-Policy'] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        answer.headers['Cache-Control'] = 'no-store'
        return answer

    return routes


def number(value: float | None) -> str:
    """Return ``12 345``, with thin spaces."""
    if value is None or isinstance(value, Undefined):
        return UNKNOWN
    return f'{value:,.0f}'.replace(',', '\N{NARROW NO-BREAK SPACE}')


def duration(seconds: float | None) -> str:
    """Return ``8 ms``, ``1.24 s``, ``3.5 min`` or ``2.1 h``."""
    if seconds is None or isinstance(seconds, Undefined):
        return UNKNOWN
    for limit, unit, digits in ((0.9995, 1e-3, 0), (60, 1, 2), (3600, 60, 1)):
        if seconds < limit:
            name = {1e-3: 'ms', 1: 's', 60: 'min'}[unit]
            return f'{seconds / unit:.{digits}f} {name}'
    return f'{seconds / 3600:.1f} h'


def ago(moment: datetime) -> str:
    """Return how far off a moment is, in its largest unit: ``12 s ago``, ``in 3 min``."""
    passed = (datetime.now(timezone.utc) - moment).total_seconds()
    seconds = int(abs(passed))
    units = ((86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's'))
    length, name = next((unit for unit in units if seconds >= unit[0]), units[-1])
    text = f'{seconds // length} {name}'
    return f'{text} ago' if passed >= 0 else f'in {text}'
