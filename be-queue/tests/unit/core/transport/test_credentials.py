"""Credentials that are looked up again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from be_queue.transport import credentials


def client_with(method: str) -> Any:
    client = boto3.client('sqs', region_name='us-west-2')
    client._request_signer._credentials = Credentials('old', 'secret', method=method)
    return client


def found(monkeypatch: pytest.MonkeyPatch, get: Any) -> None:
    monkeypatch.setattr(credentials, 'Session', lambda: SimpleNamespace(get_credentials=get))


@pytest.mark.parametrize(
    ('method', 'key', 'renewed'),
    [
        ('shared-credentials-file', 'new', True),
        ('shared-credentials-file', 'old', False),
        ('shared-credentials-file', None, False),
        ('explicit', 'new', False),  # given in settings: nobody renews them
    ],
)
def test_others_are_used_once_there_are_others(
    monkeypatch: pytest.MonkeyPatch, method: str, key: str | None, renewed: bool
) -> None:
    found(monkeypatch, lambda: key and Credentials(key, 'secret', method='shared'))
    client = client_with(method)
    assert credentials.renew(client) is renewed
    assert client._request_signer._credentials.access_key == ('new' if renewed else 'old')
    assert not credentials.renew(client)  # not again at once


def test_a_source_that_fails_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise RuntimeError('STS says no')

    found(monkeypatch, refuse)
    assert not credentials.renew(client_with('assume-role'))
    assert 'credentials for SQS have expired and cannot be renewed: STS says no' in caplog.text
