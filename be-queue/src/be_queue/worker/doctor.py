"""Checks what a worker uses beside SQS and results, for `be-queue doctor`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from celery import Celery

from be_queue.doctor import Finding
from be_queue.outage import CHECK_RESULT_DB, brief
from be_queue.worker import history, vault
from be_queue.worker.settings import Settings

__all__ = ['checks']

#: Seconds for an answer.
TIMEOUT = 5.0
#: Seconds in which a machine says that nothing listens on a port for UDP.
UDP_SECONDS = 0.5
#: Sentry's answers to an envelope without an event, and while it takes no more.
TAKEN = (400, 413, 429)


def checks(app: Celery) -> Iterator[Finding]:
    """Yield a finding for each integration that the settings switch on."""
    config: Settings = app.conf.APP
    if app.conf.result_backend.startswith('db+'):
        try:
            yield Finding('history', history.fault(app) or '')
        except Exception as error:  # noqa: BLE001  (each driver has its own)
            yield Finding('history', f'{brief(error)}: check {CHECK_RESULT_DB}')
    for name, is_on, check, hint in (
        ('Vault', config.vault_addr, _vault, 'VAULT_ADDR'),
        ('Sentry', config.sentry_dsn.get_secret_value(), _sentry, 'SENTRY_DSN'),
        ('traces', config.is_traced, _tracer, 'JAEGER_AGENT_HOST and JAEGER_AGENT_PORT'),
    ):
        if not is_on:
            continue
        try:
            yield Finding(name, note=check(config))
        except Exception as error:  # noqa: BLE001  (each has many)
            yield Finding(name, f'{brief(error)}: check {hint}')


def _vault(config: Settings) -> str:
    from be_queue.worker.vault.client import explained
    from be_queue.worker.vault.login import auth_method

    with vault.logged_in(config) as client:
        if auth_method(config) == 'token':  # which is not used yet
            try:
                client.auth.token.lookup_self()
            except Exception as error:  # noqa: BLE001  (an answer that is not Vault's raises any)
                raise explained(error) from None
    return ''


def _sentry(config: Settings) -> str:
    from sentry_sdk.utils import Dsn

    auth = Dsn(config.sentry_dsn.get_secret_value()).to_auth('be-queue doctor')
    envelope = Request(auth.get_api_url(), b'{}\n', {'X-Sentry-Auth': auth.to_header()})
    try:
        with urlopen(envelope, timeout=TIMEOUT):
            return ''
    except HTTPError as error:
        if error.code not in TAKEN:
            raise
    return ''


def _tracer(config: Settings) -> str:
    if config.tracing_exporter == 'otlp':
        from be_queue.worker.tracing.otlp import check

        check(config, TIMEOUT)
        return ''
    address = str(config.jaeger_agent_host), config.jaeger_agent_port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.settimeout(UDP_SECONDS)
        agent.connect(address)
        agent.send(b'')
        try:
            agent.recv(1)
        except TimeoutError:
            return 'an agent does not answer; that none is there would have been said'
    return ''
