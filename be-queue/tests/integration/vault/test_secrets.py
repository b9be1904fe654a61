"""Settings whose values are in Vault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.config.configuration import Config, load_config
from be_queue import SettingError
from be_queue.worker.settings import ConfigError, forget
from tests.integration.vault.conftest import PASSWORD, POLICY, Read
from tests.support.openbao import OpenBao
from tests.support.process import ROOT
from tests.support.worker import Site


@pytest.fixture(autouse=True)
def secrets(bao: OpenBao) -> None:
    """Secrets, one of them deleted, and one that no policy allows."""
    write = bao.root.secrets.kv.v2.create_or_update_secret
    write('worker/db', {'password': 'hush-of-the-database', 'port': 5433, 'none': '', 'map': {}})
    write('worker/all', {'text': 'hush-text', 'no port': 'hush-port'})
    write('shut', {'password': 'hush-shut'})
    write('worker/gone', {'password': 'hush-gone'})
    bao.root.secrets.kv.v2.delete_latest_version_of_secret('worker/gone')
    bao.requests.clear()


def test_the_environment_wins_over_vault_and_vault_over_defaults(
    read: Read, bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RESULT_DB_NAME', 'from-the-environment')
    monkeypatch.setenv('RESULT_DB_PORT', '')
    monkeypatch.setenv('VAULT_CACERT', '')
    config = read(
        vault_secrets=f'{PASSWORD}, RESULT_DB_PORT = worker/db#port,RESULT_DB_NAME=shut#password'
    )
    assert config.result_db_pass.get_secret_value() == 'hush-of-the-database'
    assert config.result_db_port == 5433
    assert config.result_db_name == 'from-the-environment'
    # Once for both, and not for what the environment gives.
    assert bao.requests['secret/data/worker/db'] == 1
    assert bao.requests['secret/data/shut'] == 0
    assert read(vault_token='none', vault_secrets=PASSWORD, result_db_pass='mine')


def test_another_mount_in_a_namespace(read: Read, bao: OpenBao) -> None:
    bao.root.adapter.post('/v1/sys/namespaces/team-a')
    bao.root.adapter.namespace = 'team-a'
    try:
        bao.root.sys.enable_secrets_engine('kv', 'team/kv', options={'version': '2'})
        bao.root.secrets.kv.v2.create_or_update_secret('db', {'n': 'theirs'}, mount_point='team/kv')
        token = bao.token('team/kv/data/db')
    finally:
        bao.root.adapter.namespace = None
    more = {'vault_token': token, 'vault_namespace': 'team-a', 'vault_kv_mount': 'team/kv'}
    assert read(vault_secrets='RESULT_DB_NAME=db#n', **more).result_db_name == 'theirs'


@pytest.mark.parametrize(
    ('secret', 'words'),
    [
        ('worker/gone#password', 'there is nothing at secret/data/worker/gone, or its latest '),
        ('worker/db#pasword', "no text or number in 'pasword': its fields are 'map', 'none'"),
        ('worker/db#map', "secret/data/worker/db has no text or number in 'map'"),
        ('shut#password', 'path "secret/data/shut" { capabilities = ["read"] }'),
    ],
)
def test_a_secret_that_cannot_be_had_is_named_with_its_setting(
    read: Read, secret: str, words: str
) -> None:
    with pytest.raises(SettingError) as caught:
        read(vault_secrets=f'RESULT_DB_PASS={secret},RESULT_DB_NAME=worker/none#at-all')
    line, other = str(caught.value).splitlines()
    assert line.startswith(f'VAULT_SECRETS=RESULT_DB_PASS={secret}: ')
    assert words in line
    assert other.startswith('VAULT_SECRETS=RESULT_DB_NAME=worker/none#at-all: ')
    assert 'hush' not in line


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('RESULT_DB_PAS', 'did you mean RESULT_DB_PASS?'),
        ('CELERY_BROKER_URL', 'cannot come from Vault'),
    ],
)
def test_only_settings_of_the_app_come_from_vault(read: Read, name: str, words: str) -> None:
    with pytest.raises(SettingError, match=f'VAULT_SECRETS={name}=a#b: .*') as caught:
        read(vault_secrets=f'{name}=a#b')
    assert words in str(caught.value)


def test_a_bad_value_from_vault_is_not_shown(
    bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, 'root', tmp_path)
    monkeypatch.setenv('VAULT_ADDR', bao.url)
    monkeypatch.setenv('VAULT_TOKEN', bao.token(POLICY))
    monkeypatch.setenv('VAULT_SECRETS', 'SERVER_PORT=worker/all#no port')
    forget()
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert str(caught.value) == 'SERVER_PORT=***: must be a whole number'


def test_a_token_of_a_login_is_revoked_and_one_that_was_given_is_not(
    read: Read, bao: OpenBao
) -> None:
    read(vault_secrets=PASSWORD, **bao.approle(POLICY))
    assert bao.requests['auth/token/revoke-self'] == 1
    read(vault_secrets=PASSWORD)
    assert bao.requests['auth/token/revoke-self'] == 1


SHOW = """
import logging, os, traceback
logging.basicConfig(level=logging.DEBUG)
from app.config.configuration import load_config
from app.worker import app, worker_config
from be_queue.worker.settings import forget
config = load_config()
print(repr(config), config.model_dump(), config.model_dump_json(), repr(worker_config))
print(app.bugreport(), app.backend.as_uri(), app.conf.humanize(with_defaults=True))
print(dict(os.environ))
forget()
os.environ['VAULT_TOKEN'] = 'hvs.hush-no-token'
try:
    load_config()
except Exception:
    traceback.print_exc()
"""


def test_nothing_that_a_process_shows_of_itself_holds_a_secret(
    bao: OpenBao, tmp_path: Path
) -> None:
    bao.root.secrets.kv.v2.create_or_update_secret('worker/x', {'p': 'hush/pass', 'h': 'hush-host'})
    token = bao.token(POLICY)
    variables = {
        'VAULT_ADDR': bao.url,
        'VAULT_TOKEN': token,
        'VAULT_SECRETS': 'RESULT_DB_PASS=worker/x#p,RESULT_DB_HOST=worker/x#h',
        'PROMETHEUS_MULTIPROC_DIR': str(tmp_path),
    }
    shown = subprocess.check_output(
        [sys.executable, '-c', SHOW],
        cwd=ROOT,
        env=Site(tmp_path, 'http://127.0.0.1:9', variables).environment,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert 'Vault refuses secret/data/worker/x: ' in shown
    # The token is in the environment, where it was given, and nowhere else.
    assert shown.count(token) == 1
    assert [text for text in ('hush/pass', 'hush%2Fpass', 'hush-no-token') if text in shown] == []
