"""Who we are on AWS: a signed request that Vault sends to STS in our place."""

from __future__ import annotations

import base64
import json

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import get_current_datetime
from botocore.credentials import ReadOnlyCredentials
from botocore.session import get_session

from app.config.vault.errors import RefusedError

__all__ = ['SERVER_ID', 'signed_identity']

#: Ties a signed request to one Vault, which refuses those made for another.
SERVER_ID = 'X-Vault-AWS-IAM-Server-ID'
BODY = 'Action=GetCallerIdentity&Version=2011-06-15'


def signed_identity(server_id: str | None, sts_region: str | None) -> dict[str, str]:
    """Return the fields of Vault's login by AWS IAM, but the role.

    Credentials are those of boto3's usual chain; a lookup may take requests of its own.

    Arguments:
        server_id: what the header of that name must hold; None leaves it out.
        sts_region: the region of STS; None is the global one.

    Raises `RefusedError` when there are no credentials.
    """
    credentials = _credentials()
    url = f'https://sts.{sts_region}.amazonaws.com/' if sts_region else 'https://sts.amazonaws.com/'
    request = AWSRequest(
        method='POST',
        url=url,
        data=BODY,
        headers={
            'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8',
            'Host': url.split('/')[2],
            **({SERVER_ID: server_id} if server_id else {}),
        },
    )
    _sign(request, SigV4Auth(credentials, 'sts', sts_region or 'us-east-1'))
    return {
        'iam_http_request_method': 'POST',
        'iam_request_url': _encoded(url),
        'iam_request_body': _encoded(BODY),
        'iam_request_headers': _encoded(
            json.dumps({name: [value] for name, value in request.headers.items()})
        ),
    }


def _credentials() -> ReadOnlyCredentials:
    try:
        found = get_session().get_credentials()
        if found is not None:
            return found.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
        # Its text is not passed on: that of a program may hold what the program printed.
        raise RefusedError(f'AWS credentials cannot be had ({type(error).__name__})') from None
    raise RefusedError('there are no AWS credentials to sign with')


def _sign(request: AWSRequest, signer: SigV4Auth) -> None:
    # The steps of `SigV4Auth.add_auth`, which also logs the whole of it at level DEBUG: for some
    # minutes it is as good as a password.
    request.context['timestamp'] = get_current_datetime().strftime(SIGV4_TIMESTAMP)
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
