"""The signed request by which AWS tells Vault who we are."""

from __future__ import annotations

import json
import logging
from base64 import b64encode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import get_session

from be_queue import SettingError
from be_queue.worker import redaction
from be_queue.worker.vault.settings import VaultSettings

__all__ = ['signed_identity']

BODY = 'Action=GetCallerIdentity&Version=2011-06-15'
# At level DEBUG it logs the whole request, which for minutes is as good as a password.
logging.getLogger('botocore.auth').setLevel(logging.INFO)


def signed_identity(settings: VaultSettings) -> dict[str, str]:
    """Return the fields of a login by AWS IAM but the role; Vault sends the request to STS.

    Not by hvac's ``iam_login``, which signs for the global STS alone
    (https://github.com/hvac/hvac/issues/251). Credentials come from boto3's usual chain. Raises
    `SettingError` when there are none.
    """
    region = settings.vault_aws_sts_region
    host = f'sts.{region}.amazonaws.com' if region else 'sts.amazonaws.com'
    headers = {'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8', 'Host': host}
    if settings.vault_aws_server_id:
        headers['X-Vault-AWS-IAM-Server-ID'] = settings.vault_aws_server_id
    request = AWSRequest('POST', f'https://{host}/', headers, BODY)
    try:
        credentials = get_session().get_credentials().get_frozen_credentials()
        SigV4Auth(credentials, 'sts', region or 'us-east-1').add_auth(request)
    except Exception as error:  # noqa: BLE001  (each source of credentials has its own)
        # Its text is not passed on: that of a program may hold what the program printed.
        raise SettingError(
            f'VAULT_AWS_ROLE={settings.vault_aws_role}: there are no AWS credentials to sign with '
            f'({type(error).__name__}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, '
            'AWS_PROFILE, or the role of the machine'
        ) from None
    signed = _encoded(json.dumps({name: [value] for name, value in request.headers.items()}))
    redaction.add(signed)
    return {
        'iam_http_request_method': 'POST',
        'iam_request_url': _encoded(request.url),
        'iam_request_body': _encoded(BODY),
        'iam_request_headers': signed,
    }


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
