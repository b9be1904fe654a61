"""The ways to log in, and what is said when a login is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from app.config.configuration import ConfigError
from tests.integration.vault.conftest import Configure
from tests.support.vault import Vault

PASSWORD = 'RESULT_DB_PASS=worker/db#password'
AWS_KEY, AWS_SECRET, AWS_SESSION = 'AKIDEXAMPLE', 'hush-aws-secret', 'hush-aws-session'


def test_by_a_token_in_a_file(configure: Configure, vault: Vault, tmp_path: Path) -> None:
    sink = tmp_path / 'token'
    sink.write_text(f'{vault.new_token()}\n')
    assert configure(vault_token_file=str(sink), vault_secrets=PASSWORD)


def test_by_approle(configure: Configure, vault: Vault) -> None:
    vault.logins['approle'] = lambda body: body == {'role_id': 'r', 'secret_id': 'hush-id'}
    assert configure(vault_role_id='r', vault_secret_id='hush-id', vault_secrets=PASSWORD)


def test_by_kubernetes_at_another_mount(configure: Configure, vault: Vault, tmp_path: Path) -> None:
    (tmp_path / 'jwt').write_text('hush.jwt')
    vault.logins['eks-prod'] = lambda body: body == {'role': 'worker', 'jwt': 'hush.jwt'}
    assert configure(
        vault_k8s_role='worker',
        vault_k8s_token_file=str(tmp_path / 'jwt'),
        vault_auth_mount='eks-prod',
        vault_secrets=PASSWORD,
    )


@pytest.mark.parametrize('server_id', ['vault.example.com', None])
@pytest.mark.parametrize('region', ['eu-west-1', None])
def test_by_aws_iam(
    configure: Configure,
    vault: Vault,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server_id: str | None,
    region: str | None,
) -> None:
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', AWS_KEY)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', AWS_SECRET)
    monkeypatch.setenv('AWS_SESSION_TOKEN', AWS_SESSION)
    vault.logins['aws'] = lambda body: is_signed(body, server_id, region)
    given = {'vault_aws_server_id': server_id} if server_id else {}
    given |= {'vault_aws_sts_region': region} if region else {}
    with caplog.at_level(logging.DEBUG):
        assert configure(vault_aws_role='worker', vault_secrets=PASSWORD, **given)
    (body,) = (body for _, path, body in vault.requests if path == 'auth/aws/login')
    assert body['role'] == 'worker'
    headers = json.loads(decoded(body['iam_request_headers']))
    assert signature(headers) not in caplog.text
    assert AWS_SECRET not in caplog.text
    assert AWS_SESSION not in caplog.text


def is_signed(body: dict[str, Any], server_id: str | None, region: str | None) -> bool:
    """Check a request as STS would: by AWS' description of signature version 4."""
    url = decoded(body['iam_request_url'])
    headers = {k.lower(): v for k, (v,) in json.loads(decoded(body['iam_request_headers'])).items()}
    host = f'sts.{region}.amazonaws.com' if region else 'sts.amazonaws.com'
    assert (body['iam_http_request_method'], url) == ('POST', f'https://{host}/')
    assert decoded(body['iam_request_body']) == 'Action=GetCallerIdentity&Version=2011-06-15'
    assert headers['x-amz-security-token'] == AWS_SESSION
    assert headers.get('x-vault-aws-iam-server-id') == server_id
    assert headers['host'] == host

    parts = dict(p.split('=', 1) for p in headers['authorization'].split(' ', 1)[1].split(', '))
    signed = parts['SignedHeaders'].split(';')
    assert {'host', 'x-amz-date', 'x-amz-security-token'} <= set(signed)
    assert ('x-vault-aws-iam-server-id' in signed) == (server_id is not None)
    key, date, *scope = parts['Credential'].split('/')
    assert (key, scope) == (AWS_KEY, [region or 'us-east-1', 'sts', 'aws4_request'])
    digest = hashlib.sha256(decoded(body['iam_request_body']).encode()).hexdigest()
    lines = [f'{name}:{headers[name]}\n' for name in signed]
    canonical = '\n'.join(['POST', '/', '', ''.join(lines), ';'.join(signed), digest])
    text = '\n'.join(
        [
            'AWS4-HMAC-SHA256',
            headers['x-amz-date'],
            '/'.join([date, *scope]),
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    step = f'AWS4{AWS_SECRET}'.encode()
    for part in (date, *scope):
        step = hmac.new(step, part.encode(), hashlib.sha256).digest()
    return hmac.new(step, text.encode(), hashlib.sha256).hexdigest() == parts['Signature']


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def signature(headers: dict[str, list[str]]) -> str:
    return headers['Authorization'][0].partition('Signature=')[2]


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (
            {'vault_role_id': 'r', 'vault_secret_id': 'hush-id'},
            'Vault refuses the login at auth/approle/login: invalid role or secret ID: check '
            'VAULT_ROLE_ID and VAULT_SECRET_ID, and VAULT_AUTH_MOUNT',
        ),
        (
            {'vault_role_id': 'r', 'vault_secret_id': 'hush-id', 'vault_auth_mount': 'other'},
            'Vault refuses the login at auth/other/login: nothing is mounted there',
        ),
        ({'vault_role_id': 'r'}, 'VAULT_AUTH_METHOD=approle: set VAULT_SECRET_ID'),
        (
            {'vault_auth_method': 'token', 'vault_role_id': 'r'},
            'VAULT_AUTH_METHOD=token: set VAULT_TOKEN or VAULT_TOKEN_FILE',
        ),
        (
            {'vault_token': 'hush-id', 'vault_aws_role': 'r'},
            'VAULT_AUTH_METHOD must be token, approle, kubernetes or aws, since there are '
            'settings of token and aws',
        ),
        (
            {'vault_token_file': '/nowhere/token'},
            'VAULT_TOKEN_FILE=/nowhere/token: cannot be read: No such file or directory',
        ),
        (
            {'vault_k8s_role': 'r', 'vault_k8s_token_file': '/dev/null'},
            'VAULT_K8S_TOKEN_FILE=/dev/null: the file is empty',
        ),
        (
            {'vault_token': 'hush-id'},
            'Vault refuses to read secret/data/worker/db: permission denied: give the policy of '
            'the login path "secret/data/worker/db" { capabilities = ["read"] }, or the token is '
            'wrong or has ended: check VAULT_TOKEN',
        ),
        # It cannot be sent in a header, and the library's error would show it.
        ({'vault_token': 'hush-\nid'}, 'no usable answer (InvalidHeader)'),
    ],
)
def test_a_wrong_login_is_told(
    configure: Configure, vault: Vault, settings: dict[str, Any], words: str
) -> None:
    vault.logins['approle'] = lambda body: False
    with pytest.raises(ConfigError) as caught:
        configure(vault_secrets=PASSWORD, **settings)
    assert words in str(caught.value)
    assert 'hush' not in str(caught.value)


@pytest.mark.parametrize(
    ('profile', 'fault'),
    [
        ('', 'there are no AWS credentials to sign with'),
        ('credential_process = /bin/echo hush', 'AWS credentials cannot be had (JSONDecodeError)'),
        ('credential_process = /bin/false', 'AWS credentials cannot be had (CredentialRetrieval'),
    ],
)
def test_without_aws_credentials_the_start_says_what_to_check(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    profile: str,
    fault: str,
) -> None:
    for name in [name for name in os.environ if name.startswith('AWS_')]:
        monkeypatch.delenv(name)
    (tmp_path / 'config').write_text(f'[default]\n{profile}\n')
    monkeypatch.setenv('AWS_CONFIG_FILE', str(tmp_path / 'config'))
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(tmp_path / 'none'))
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    with pytest.raises(ConfigError) as caught:
        configure(vault_aws_role='worker', vault_secrets=PASSWORD)
    line = str(caught.value)
    assert line.startswith(f'VAULT_AWS_ROLE=worker: {fault}')
    assert 'check AWS_ACCESS_KEY_ID' in line
    assert 'hush' not in line


def test_what_vault_says_of_a_refused_login_shows_nothing_of_it(
    configure: Configure, vault: Vault
) -> None:
    def refuse(body: dict[str, Any]) -> bool:
        raise ValueError(f'invalid secret id {body["secret_id"]!r}')

    vault.logins['approle'] = refuse
    with pytest.raises(ConfigError) as caught:
        configure(vault_role_id='r', vault_secret_id='hush-id', vault_secrets=PASSWORD)
    assert "invalid secret id '***'" in str(caught.value)
