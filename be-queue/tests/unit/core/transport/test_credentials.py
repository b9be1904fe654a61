"""Credentials that are looked up again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from be_queue.transport import credentials


@pytest.mark.parametrize(
    ('method', 'key', 'renewed'),
    [
        ('shared-credentials-file', 'new', True),
        ('shared-credentials-file', 'old', False),
        ('shared-credentials-file', None, False),
        ('explicit', 'new', False),  # given in settings: nobody renews them
        ('assume-role', RuntimeError('STS says no'), False),
    ],
)
def test_others_are_used_once_there_are_others(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    key: Any,
    renewed: bool,
) -> None:
    def find() -> Any:
        if isinstance(key, Exception):
            raise key
        return key and Credentials(key, 'secret', method='shared')

    monkeypatch.setattr(credentials, 'Session', lambda: SimpleNamespace(get_credentials=find))
    client: Any = boto3.client('sqs', region_name='us-west-2')
    client._request_signer._credentials = Credentials('old', 'secret', method=method)
    assert credentials.renew(client) is renewed
    assert client._request_signer._credentials.access_key == ('new' if renewed else 'old')
    assert not credentials.renew(client)  # not again at once
    if isinstance(key, Exception):
        assert f'credentials for SQS have expired and cannot be renewed: {key}' in caplog.text
