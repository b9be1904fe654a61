"""A user's own routes on the Flask app of the dashboard."""

from __future__ import annotations

from flask import Flask, request, session

from app import web

__all__ = ['create_app']


def create_app() -> Flask:
    """Return the template's app with sessions and a form of its user's."""
    app = web.create_app()
    app.secret_key = 'the key of a user'

    @app.post('/own')
    def own() -> str:
        session['seen'] = session.get('seen', 0) + 1
        return f'{request.form.get("x")} {session["seen"]}'

    return app
