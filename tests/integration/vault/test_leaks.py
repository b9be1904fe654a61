"""What a process shows of itself, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.process import ROOT
from tests.support.vault import Vault
from tests.support.worker import Site

SHOW = """
import logging, os, traceback
logging.basicConfig(level=logging.DEBUG)
from app.config.configuration import load_config
from app.worker import app, worker_config
config = load_config()
print(repr(config), config.model_dump(), config.model_dump_json(), repr(worker_config))
print(app.bugreport(), app.backend.as_uri(), app.conf.humanize(with_defaults=True))
print(dict(os.environ))
load_config.cache_clear()
os.environ['VAULT_TOKEN'] = 'hvs.hush-no-token'
try:
    load_config()
except Exception:
    traceback.print_exc()
"""


def run(program: str, folder: Path, **variables: str) -> str:
    environment = {
        'ENV': 'local',
        'PROMETHEUS_MULTIPROC_DIR': str(folder),
        **Site(folder, 'http://127.0.0.1:9', {}).environment,
        **variables,
    }
    ended = subprocess.run(
        [sys.executable, '-c', program],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_nothing_that_a_process_shows_of_itself_holds_a_secret(
    vault: Vault, tmp_path: Path
) -> None:
    token = vault.new_token()
    vault.kv['secret/db'] = {'pass': 'hush/pass', 'host': 'hush-host'}
    shown = run(
        SHOW,
        tmp_path,
        VAULT_ADDR=vault.url,
        VAULT_TOKEN=token,
        VAULT_SECRETS='RESULT_DB_PASS=db#pass,RESULT_DB_HOST=db#host',
    )
    assert 'ConfigError' in shown
    assert 'Vault refuses to read secret/data/db' in shown
    # The token is in the environment, where it was given, and nowhere else.
    assert shown.count(token) == 1
    assert [text for text in ('hush/pass', 'hush%2Fpass', 'hush-no-token') if text in shown] == []


def test_without_an_address_nothing_of_the_client_is_loaded(tmp_path: Path) -> None:
    variables = {'VAULT_SECRETS': 'RESULT_DB_PASS=db#pass', 'VAULT_DB_ROLE': 'r'}
    program = """
import sys, threading
from app.utils import processes
from app.utils.role import Role
import app.worker
processes.start(Role.CONSUMER)
print([name for name in ('hvac', 'app.config.vault.client') if name in sys.modules])
print([thread.name for thread in threading.enumerate() if 'vault' in thread.name])
processes.stop()
"""
    assert run(program, tmp_path, **variables).splitlines()[-2:] == ['[]', '[]']
