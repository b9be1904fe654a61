"""The check of `be-queue doctor` of Vault."""

from __future__ import annotations

from types import SimpleNamespace

from be_queue.worker.doctor import checks
from tests.integration.vault.conftest import POLICY, Read
from tests.support.openbao import OpenBao


def test_the_login_must_work(read: Read, bao: OpenBao) -> None:
    def said(**settings: str) -> str:
        app = SimpleNamespace(conf=SimpleNamespace(APP=read(**settings), result_backend='disabled'))
        (finding,) = checks(app)  # type: ignore[arg-type]
        return finding.fault

    assert said() == ''
    role = bao.approle(POLICY)
    assert said(**role) == ''
    shown = said(**role | {'vault_secret_id': 'hush'})
    assert 'check VAULT_ROLE_ID and VAULT_SECRET_ID' in shown
    assert 'hush' not in shown
    shown = said(vault_token='hush')
    assert 'check VAULT_TOKEN' in shown
    assert said(vault_token='x', vault_addr='http://127.0.0.1:9').endswith(
        'Connection refused: check VAULT_ADDR'
    )
