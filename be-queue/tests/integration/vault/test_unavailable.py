"""A Vault that gives no usable answer stops the start, in one line and in a bounded time."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from be_queue import SettingError
from be_queue.testing.ports import free_port
from be_queue.worker.vault import login
from tests.integration.vault.conftest import PASSWORD, POLICY, Read
from tests.support.faulty import no_answer, reset, serving
from tests.support.faulty_service import says
from tests.support.openbao import OpenBao

UP = ': check that Vault is there, up and unsealed'
NO_VAULT = 'the answer is not one of Vault'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(login, 'PAUSE_SECONDS', 0)


def fault(read: Read, **settings: Any) -> str:
    with pytest.raises(SettingError) as caught:
        read(vault_secrets=PASSWORD, **settings)
    (line,) = str(caught.value).splitlines()
    assert 'hush' not in line
    return line


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        (no_answer, f'no answer in time (VAULT_TIMEOUT=0.3){UP}'),
        (reset, 'no connection: '),
        (
            says(503, b'{"errors": ["Vault is sealed"]}'),
            f'Vault is sealed (at auth/approle/login){UP}',
        ),
        (says(200, b'<html>'), NO_VAULT),
        (says(404, b'<html>'), NO_VAULT),
    ],
)
def test_an_answer_that_is_of_no_use(read: Read, bao: OpenBao, answer: Any, words: str) -> None:
    bao.fail(answer)
    given = bao.approle(POLICY)
    timeout = 0.3 if answer is no_answer else 5
    assert f'VAULT_ADDR={bao.url}: {words}' in fault(read, vault_timeout=timeout, **given)


def test_one_that_is_sealed_for_a_moment_is_asked_again(read: Read, bao: OpenBao) -> None:
    def once(handler: Any) -> None:
        bao.repair()
        handler.answer(503, b'{"errors": ["Vault is sealed"]}')

    given = bao.approle(POLICY)
    bao.fail(once)
    assert read(vault_secrets=PASSWORD, **given)


def test_when_the_time_of_the_start_is_over_it_logs_out_and_asks_no_more(
    read: Read, bao: OpenBao
) -> None:
    def take_all(client: Any) -> None:
        client.session.end_within(0)
        client.auth.token.lookup_self()

    with pytest.raises(SettingError, match='no answer in time'):
        login.at_start(read(**bao.approle(POLICY)), take_all)
    assert bao.requests == {'auth/approle/login': 1, 'auth/token/revoke-self': 1}


@pytest.fixture
def secure(bao: OpenBao) -> Iterator[tuple[OpenBao, str]]:
    """Another way to the same Vault, by https, and the file of who vouches for it."""
    other = OpenBao(bao.upstream)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert('127.0.0.1').configure_cert(context)
    other.socket = context.wrap_socket(other.socket, server_side=True)
    other.url = other.url.replace('http:', 'https:')
    with serving(other), authority.cert_pem.tempfile() as ca_file:
        yield other, ca_file


def test_there_must_be_a_server_whose_certificate_is_trusted(
    read: Read, bao: OpenBao, secure: tuple[OpenBao, str]
) -> None:
    other, ca_file = secure
    given = bao.approle(POLICY)
    assert read(vault_addr=other.url, vault_cacert=ca_file, vault_secrets=PASSWORD, **given)
    words = 'its certificate is not accepted: check VAULT_CACERT, and https in VAULT_ADDR'
    assert words in fault(read, vault_addr=other.url, **given)
    url = f'http://127.0.0.1:{free_port()}'
    words = f'VAULT_ADDR={url}: no connection: [Errno 111] Connection refused{UP}'
    assert words == fault(read, vault_addr=url, **given)


def leads_to(url: str) -> Any:
    return lambda handler: handler.answer(307, b'', Location=url + handler.path)


def test_a_redirect_from_https_to_http_is_not_followed(
    read: Read, bao: OpenBao, secure: tuple[OpenBao, str]
) -> None:
    other, ca_file = secure
    other.fail(leads_to(bao.url))
    line = fault(read, vault_addr=other.url, vault_cacert=ca_file)  # with a token
    assert 'status 307 redirects to http://127.0.0.1, where the login would be readable' in line
    assert not bao.requests


def test_a_redirect_to_another_host_is_followed(read: Read, bao: OpenBao) -> None:
    with serving(OpenBao(bao.upstream)) as standby:
        standby.fail(leads_to(bao.url.replace('127.0.0.1', 'localhost')))
        assert read(vault_addr=standby.url, vault_secrets=PASSWORD, **bao.approle(POLICY))
