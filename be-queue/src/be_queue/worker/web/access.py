"""Who may read the dashboard and who may act on it, and the headers of its pages.

Only blueprints given to `Access.protect` are concerned: a user's own routes on the same Flask app
keep their sessions, their headers and their way of logging in.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any

from flask import Blueprint, Flask, Request, Response, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from flask_httpauth import HTTPBasicAuth  # type: ignore[import-untyped]
from flask_wtf.csrf import (  # type: ignore[import-untyped]
    generate_csrf,
    validate_csrf,
)
from werkzeug.exceptions import HTTPException

from be_queue.worker.settings import Settings

__all__ = ['Access']

logger = logging.getLogger(__name__)

OFF = (
    'The dashboard is off: set DASHBOARD_AUTH=USER:PASSWORD, or DASHBOARD_OPEN=true where a proxy '
    'in front asks for a login.'
)
HEADERS = {
    # Were a task's name or result ever to get through as markup, it still could do nothing.
    'Content-Security-Policy': (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    'X-Frame-Options': 'DENY',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}
#: Seconds for which the forms of a page that stays open can be sent.
FORM_LIFETIME = 86_400
CSRF_FIELD = 'csrf_token'


class Access:
    """Asks for DASHBOARD_AUTH, and knows who has given ADMIN_TOKEN.

    Arguments:
        web: the Flask app; its pages whose blueprints are protected get a session of their own.
    """

    def __init__(self, config: Settings, web: Flask) -> None:
        self._passwords = {u: p.get_secret_value() for u, p in config.dashboard_auth.items()}
        self._is_off = not (self._passwords or config.dashboard_open or config.is_local)
        self._token = config.admin_token.get_secret_value() if config.admin_token else ''
        self._key = hmac.new(self._token.encode(), b'be-queue', hashlib.sha256).hexdigest()
        self._protected: set[str] = set()
        self._login = HTTPBasicAuth(realm='dashboard')
        self._login.verify_password(self._user)
        if self._is_off:
            logger.info(OFF)
        if self.actions_enabled:
            web.session_interface = _Sessions(self._key, self._protected)

    @property
    def actions_enabled(self) -> bool:
        """Whether ADMIN_TOKEN is set."""
        return bool(self._token)

    @property
    def is_admin(self) -> bool:
        """Whether the request comes with ADMIN_TOKEN, or from a browser that has given it."""
        return self.has_token or (self.actions_enabled and 'is_admin' in session)

    @property
    def has_token(self) -> bool:
        """Whether the request comes with ADMIN_TOKEN in its header ``Authorization``."""
        given = request.authorization
        return bool(given and given.type == 'bearer' and self.is_token(given.token or ''))

    def is_token(self, text: str) -> bool:
        """Return whether ``text`` is ADMIN_TOKEN."""
        return self.actions_enabled and _equal(text, self._token)

    def who(self) -> dict[str, Any]:
        """Return who has sent the request, as fields of a log line."""
        user = 'ADMIN_TOKEN' if self.has_token else self._login.current_user()
        return {'user': user, 'address': request.remote_addr}

    def protect(self, routes: Blueprint) -> Blueprint:
        """Keep the pages of a blueprint from strangers, frames and caches."""
        self._protected.add(routes.name)
        routes.before_request(self._check)
        routes.after_request(_add_headers)
        routes.context_processor(
            lambda: {
                'is_admin': self.is_admin,
                'actions_enabled': self.actions_enabled,
                'csrf_token': self._csrf_token,
            }
        )
        return routes

    def check_form(self) -> None:
        """Raise `wtforms.ValidationError` unless the form comes from a page of this browser's."""
        # Not `CSRFProtect`, which is for all routes of an app, and with https wants the header that
        # our Referrer-Policy forbids.
        validate_csrf(request.form.get(CSRF_FIELD), self._key, FORM_LIFETIME, CSRF_FIELD)

    def _csrf_token(self) -> str:
        token: str = generate_csrf(self._key, CSRF_FIELD)
        return token

    def _check(self) -> ResponseReturnValue | None:
        if self.has_token:
            return None
        if self._is_off:
            return Response(f'{OFF}\n', 403, mimetype='text/plain')
        if not self._passwords:
            return None
        refusal: ResponseReturnValue | None = self._login.login_required(lambda: None)()
        return refusal

    def _user(self, user: str, password: str) -> str | None:
        """Return the user if the password is right."""
        if _equal(password, self._passwords.get(user, '')) and user in self._passwords:
            return user
        if user or password:
            logger.warning(
                'wrong login for the dashboard: DASHBOARD_AUTH has another',
                extra={'action': 'login refused', 'user': user, 'address': request.remote_addr},
            )
        return None


class _Sessions(SecureCookieSessionInterface):
    """Flask's, and for our pages a cookie that ends with the browser, with a key of our own."""

    def __init__(self, key: str, protected: set[str]) -> None:
        self._protected = protected
        self._own = Flask('be_queue')
        self._own.secret_key = key
        self._own.config |= {
            'SESSION_COOKIE_NAME': 'be_queue_admin',
            'SESSION_COOKIE_SAMESITE': 'Strict',
        }

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(self._settings(app), request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        super().save_session(self._settings(app), session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure if app is self._own else super().get_cookie_secure(app)

    def _settings(self, app: Flask) -> Flask:
        """Return the app whose key and cookie the request uses: Flask has not matched it yet."""
        try:
            adapter = app.create_url_adapter(request)
            rule = adapter and adapter.match(return_rule=True)[0]
        except HTTPException:
            return app
        return self._own if rule and rule.endpoint.rpartition('.')[0] in self._protected else app


def _add_headers(answer: Response) -> Response:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _equal(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode(), secret.encode())
