"""The ways to log in, and what is said when a login is refused."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import hvac
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.config.configuration import Config
from be_queue import SettingError
from be_queue.worker import vault
from be_queue.worker.vault.client import VaultError
from tests.integration.vault.conftest import PASSWORD, POLICY, Read
from tests.support.faulty_service import says
from tests.support.openbao import OpenBao

AWS_KEY, AWS_SECRET, AWS_SESSION = 'AKIDEXAMPLE', 'hush-aws-secret', 'hush-aws-session'


def test_by_a_token_in_a_file(read: Read, bao: OpenBao, tmp_path: Path) -> None:
    (tmp_path / 'token').write_text(f'{bao.token(POLICY)}\n')
    assert read(vault_token_file=str(tmp_path / 'token'), vault_secrets=PASSWORD)


def test_a_client_for_tasks_logs_in_and_out(read: Read, bao: OpenBao) -> None:
    config = read(**bao.approle(POLICY))
    with vault.logged_in(config) as client:
        answer = client.secrets.kv.v2.read_secret_version(
            'worker/db', raise_on_deleted_version=True
        )
        assert answer['data']['data'] == {'password': 'hush-password'}
    with pytest.raises(hvac.exceptions.Forbidden):
        client.auth.token.lookup_self()

    bao.fail(says(503, b'{"errors": ["Vault is sealed"]}'))
    with pytest.raises(VaultError, match='Vault is sealed'):
        vault.logged_in(config).__enter__()
    with pytest.raises(SettingError, match='VAULT_ADDR is not set'):
        vault.logged_in(Config()).__enter__()


def test_by_the_token_of_a_service_account_at_another_mount(
    read: Read, bao: OpenBao, tmp_path: Path
) -> None:
    # Vault's method jwt takes the same request as kubernetes, and needs no cluster to ask.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bao.policy('jwt', POLICY)
    bao.root.sys.enable_auth_method('jwt', path='eks-prod')
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    bao.root.auth.jwt.configure(jwt_validation_pubkeys=[public.decode()], path='eks-prod')
    bao.root.auth.jwt.create_role(
        'worker', 'sub', [], role_type='jwt', bound_subject='sa', token_policies=['jwt'],
        path='eks-prod', bound_audiences=['vault'],
    )  # fmt: skip
    now = int(time.time())
    claims = {'sub': 'sa', 'aud': 'vault', 'nbf': now - 60, 'exp': now + 600}
    parts = ({'alg': 'RS256', 'typ': 'JWT'}, claims)
    signed = '.'.join(base64url(json.dumps(part).encode()) for part in parts)
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    (tmp_path / 'jwt').write_text(f'{signed}.{base64url(signature)}\n')
    assert read(
        vault_k8s_role='worker',
        vault_k8s_token_file=str(tmp_path / 'jwt'),
        vault_auth_mount='eks-prod',
        vault_secrets=PASSWORD,
    )


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


@pytest.mark.parametrize('region', [None, 'eu-west-1'])
def test_by_aws_iam(
    read: Read,
    bao: OpenBao,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    region: str | None,
) -> None:
    host = f'sts.{region}.amazonaws.com' if region else 'sts.amazonaws.com'
    server_id = 'vault.example.com' if region else None
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', AWS_KEY)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', AWS_SECRET)
    monkeypatch.setenv('AWS_SESSION_TOKEN', AWS_SESSION)
    sent = []

    def log_in(handler: Any) -> None:  # OpenBao has no AWS IAM
        sent.append(json.loads(handler.body))
        handler.answer(200, json.dumps({'auth': {'client_token': bao.token(POLICY)}}).encode())

    bao.faults['auth/aws/login'] = log_in
    with caplog.at_level(logging.DEBUG):
        assert read(
            vault_aws_role='worker',
            vault_secrets=PASSWORD,
            vault_aws_sts_region=region,
            vault_aws_server_id=server_id,
        )
    (request,) = sent
    assert (request['role'], request['iam_http_request_method']) == ('worker', 'POST')
    assert decoded(request['iam_request_url']) == f'https://{host}/'
    assert decoded(request['iam_request_body']) == 'Action=GetCallerIdentity&Version=2011-06-15'
    headers = {k: v for k, (v,) in json.loads(decoded(request['iam_request_headers'])).items()}
    assert headers['Host'] == host
    assert headers['X-Amz-Security-Token'] == AWS_SESSION
    assert headers.get('X-Vault-AWS-IAM-Server-ID') == server_id
    scope, signed, signature = re.match(
        r'AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\w{64})$',
        headers['Authorization'],
    ).groups()
    assert scope.split('/')[::2] == [AWS_KEY, region or 'us-east-1', 'aws4_request']
    assert {'host', 'x-amz-date', 'x-amz-security-token'} <= set(signed.split(';'))
    assert ('x-vault-aws-iam-server-id' in signed) == (server_id is not None)
    hidden = (signature, AWS_SECRET, AWS_SESSION, request['iam_request_headers'])
    assert [text for text in hidden if text in caplog.text] == []


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (
            {'vault_role_id': 'r', 'vault_secret_id': 'hush-id'},
            'Vault refuses auth/approle/login: invalid role or secret ID: check VAULT_ROLE_ID and '
            'VAULT_SECRET_ID, and VAULT_AUTH_MOUNT',
        ),
        ({'vault_role_id': 'r'}, 'VAULT_AUTH_METHOD=approle: set VAULT_SECRET_ID'),
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
            {'vault_token': 'hush-id'},
            'Vault refuses secret/data/worker/db: permission denied: give the policy of the login '
            'path "secret/data/worker/db" { capabilities = ["read"] }, or the token is wrong or '
            'has ended: check VAULT_TOKEN, if it is set',
        ),
        # It cannot be sent in a header, and the library's error would show it.
        ({'vault_token': 'hush-\nid'}, '(InvalidHeader)'),
    ],
)
def test_a_wrong_login_is_told(read: Read, settings: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(vault_secrets=PASSWORD, **settings)
    (line,) = str(caught.value).splitlines()
    assert words in line
    assert 'hush' not in line


def test_without_aws_credentials_the_start_says_what_to_check(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / 'config'
    path.write_text('[default]\ncredential_process = /bin/echo hush\n')
    monkeypatch.setenv('AWS_CONFIG_FILE', str(path))
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(tmp_path / 'none'))
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    with pytest.raises(SettingError) as caught:
        read(vault_aws_role='worker', vault_secrets=PASSWORD)
    line = str(caught.value)
    assert line.startswith('VAULT_AWS_ROLE=worker: there are no AWS credentials to sign with (')
    assert 'check AWS_ACCESS_KEY_ID' in line
    assert 'hush' not in line


def test_what_vault_says_of_a_refused_login_shows_nothing_of_it(read: Read, bao: OpenBao) -> None:
    bao.faults['auth/approle/login'] = says(400, b'{"errors": ["invalid secret id \'hush-id\'"]}')
    with pytest.raises(SettingError) as caught:
        read(vault_role_id='r', vault_secret_id='hush-id', vault_secrets=PASSWORD)
    assert "invalid secret id '***'" in str(caught.value)
