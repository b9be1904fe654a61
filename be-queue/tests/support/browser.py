"""A browser without JavaScript: keeps cookies, and sends the forms of pages."""

from __future__ import annotations

import base64
import http.client
import re
from contextlib import closing
from dataclasses import dataclass
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode

__all__ = ['Answer', 'Browser', 'basic', 'bearer']


@dataclass
class Answer:
    """The answers of the server."""

    status: int
    headers: http.client.HTTPMessage
    text: str


class Browser:
    """Somebody at a browser.

    Arguments:
        port: of the server on this machine.
        headers: sent with every request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self.cookies = SimpleCookie[str]()
        self._port = port
        self._headers = headers

    def get(self, path: str = '/') -> Answer:
        return self._send('GET', path, None)

    def post(self, path: str, *fields: tuple[str, str], **more: str) -> Answer:
        """Send a form, as another site could."""
        return self._send('POST', path, urlencode([*fields, *more.items()]))

    def submit(self, page: str, path: str, *fields: tuple[str, str], **more: str) -> Answer:
        """Send a form with the hidden fields of the first one on a page."""
        (form, *_) = re.findall('<form.*?</form>', self.get(page).text, re.DOTALL)
        return self.post(path, *hidden(form), *fields, **more)

    def become_admin(self, token: str) -> Answer:
        return self.submit('/admin', '/admin', token=token)

    def _send(self, method: str, path: str, form: str | None) -> Answer:
        sent = '; '.join(f'{name}={morsel.value}' for name, morsel in self.cookies.items())
        headers = {'Content-Type': 'application/x-www-form-urlencoded', **self._headers}
        headers |= {'Cookie': sent} if sent else {}
        connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=60)
        with closing(connection):
            connection.request(method, path, form, headers)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all('Set-Cookie', ()):
                self.cookies.load(cookie)
            return Answer(answer.status, answer.headers, answer.read().decode())


def hidden(form: str) -> list[tuple[str, str]]:
    """Return the hidden fields of a form."""
    found = re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', form)
    return [(name, unescape(value)) for name, value in found]


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {'Authorization': 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """Return the header of a script."""
    return {'Authorization': f'Bearer {token}'}
