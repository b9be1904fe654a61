from __future__ import annotations

import pytest

from app.config.vault.errors import AwayError, DeniedError, FailingError, LoginError, VaultError
from app.utils.vault.trouble import MAX_WAIT, Trouble

CREDS = 'database/creds/worker'


def at(error: VaultError, path: str = CREDS) -> VaultError:
    error.path = path
    return error


def test_a_vault_that_denies_is_not_away_and_the_path_is_named(caplog):
    trouble = Trouble()
    for _ in range(3):
        assert 0 <= trouble.failed(at(DeniedError('permission denied')), 'VAULT_DB_ROLE') < MAX_WAIT
    assert trouble.lasts
    assert caplog.messages == [
        'Vault gives no login for the result database, trying until it does: '
        f'{CREDS}: permission denied: check the policy of the login, VAULT_DB_ROLE'
    ]
    trouble.ended()
    assert not trouble.lasts
    assert caplog.messages[1:] == ['Vault gives logins for the result database again: failures=3']


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (at(FailingError('failed to connect')), f'does: {CREDS}: failed to connect: check X'),
        (LoginError('Vault refuses the login at auth/approle/login'), 'does: Vault refuses the'),
    ],
)
def test_what_else_vault_says_is_no_absence(caplog, error, words):
    Trouble().failed(error, 'X')
    (line,) = caplog.messages
    assert words in line


def test_one_that_was_away_and_denies_is_back(caplog):
    trouble = Trouble()
    trouble.failed(at(AwayError('no connection')), 'X')
    trouble.failed(at(DeniedError('permission denied')), 'X')
    assert [line.split(':')[0].split(',')[0] for line in caplog.messages] == [
        'Vault is away',
        'Vault is back',
        'Vault gives no login for the result database',
    ]
    trouble.ended()
    assert len(caplog.messages) == 4


def test_waits_have_an_end():
    trouble = Trouble()
    for _ in range(10_000):
        assert trouble.failed(DeniedError(), 'X') <= MAX_WAIT
