"""What answers at Vault's address is not Vault, or sends us on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.config.configuration import ConfigError
from tests.integration.vault.conftest import APPROLE, Configure
from tests.support.vault import Vault
from tests.support.vault_other import Other, running_other

PASSWORD = 'RESULT_DB_PASS=worker/db#password'
TOKEN = {'vault_token': 'hush-token'}
NO_VAULT = 'is not one of Vault: check VAULT_ADDR'
LOGIN = '"client_token": "hush-token", "lease_duration"'


@pytest.fixture
def other() -> Iterator[Other]:
    with running_other() as server:
        yield server


@pytest.fixture
def secure() -> Iterator[Other]:
    with running_other(tls=True) as server:
        yield server


def fault(configure: Configure, other: Other, **settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        configure(vault_addr=other.url, vault_secrets=PASSWORD, **settings)
    (line,) = str(caught.value).splitlines()
    assert 'hush' not in line
    return line


@pytest.mark.parametrize('login', [TOKEN, APPROLE], ids=['token', 'approle'])
def test_a_redirect_from_https_to_http_is_not_followed(
    configure: Configure, vault: Vault, secure: Other, login: dict[str, str]
) -> None:
    secure.status, secure.leads_to = 307, vault.url
    line = fault(configure, secure, vault_cacert=secure.ca_file, **login)
    assert line == (
        f'VAULT_ADDR={secure.url}: it leads on to {vault.url}, where the login would be seen: '
        'check VAULT_ADDR'
    )
    assert vault.requests == []


@pytest.mark.parametrize('status', [307, 308])
def test_a_redirect_to_another_host_is_followed(
    configure: Configure, vault: Vault, other: Other, status: int
) -> None:
    vault.logins['approle'] = lambda body: body['secret_id'] == APPROLE['vault_secret_id']
    other.status, other.leads_to = status, vault.url.replace('127.0.0.1', 'localhost')
    assert configure(vault_addr=other.url, vault_secrets=PASSWORD, **APPROLE)


@pytest.mark.parametrize('status', [301, 302, 303])
def test_a_redirect_that_loses_the_body_says_where_it_leads(
    configure: Configure, vault: Vault, other: Other, status: int
) -> None:
    vault.logins['approle'] = lambda body: True
    other.status, other.leads_to = status, vault.url.replace('//', '//u:hush@')
    line = fault(configure, other, **APPROLE)
    assert line.endswith(
        f'by status {status}, which loses what is sent: set VAULT_ADDR to {vault.url}'
    )
    assert vault.requests == []


@pytest.mark.parametrize(
    'body',
    [
        '{"data": "x"}',
        '{"data": ["x"]}',
        '{"auth": "x"}',
        '{"auth": {' + LOGIN + ': "1h"}}',
        '{"auth": {' + LOGIN + ': true}}',
        '{"auth": {' + LOGIN + ': 1' + 400 * '0' + '}}',
        '{"data": {"ttl": "1h"}, "lease_duration": "1h"}',
        '["x"]',
        '<html>',
        '',
    ],
)
@pytest.mark.parametrize('login', [TOKEN, APPROLE], ids=['token', 'approle'])
def test_an_answer_of_another_service_is_none(
    configure: Configure, other: Other, body: str, login: dict[str, str]
) -> None:
    other.body = body
    assert fault(configure, other, **login).endswith(NO_VAULT)


def test_a_time_of_a_token_that_is_no_number_is_none(configure: Configure, other: Other) -> None:
    other.body = '{"data": {"ttl": "1h"}}'
    assert fault(configure, other, **TOKEN).endswith(NO_VAULT)


@pytest.mark.parametrize(
    ('status', 'body', 'words'),
    [
        (400, '<html>', f'the answer, status 400 (Bad Request), {NO_VAULT}'),
        (403, '<html>', f'the answer, status 403 (Forbidden), {NO_VAULT}'),
        (404, '<html>', f'the answer, status 404 (Not Found), {NO_VAULT}'),
        (404, '{"detail": "?"}', 'there is no auth/token/lookup-self, as Vault has it: check VAU'),
        (304, '', f'the answer, status 304 (Not Modified), {NO_VAULT}'),
        (400, '{"errors": "a string"}', ': a string'),
        (400, '{"errors": [1, {"a": 2}]}', "1, {'a': 2}"),
        (407, '', 'status 407 (Proxy Authentication Required): check'),
        (413, '', 'status 413 ('),
        (429, '{"errors": ["too many"]}', 'status 429 (Too Many Requests): too many: check'),
        (472, '', 'status 472 (standby for disaster recovery): check'),
        (473, '', 'status 473 (standby for performance): check'),
        (499, '["x"]', 'status 499: check'),
    ],
)
def test_a_status_is_named(
    configure: Configure, other: Other, status: int, body: str, words: str
) -> None:
    other.status, other.body = status, body
    assert words in fault(configure, other, **TOKEN)
