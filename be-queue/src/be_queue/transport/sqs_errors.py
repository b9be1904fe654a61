"""Classifies errors of SQS."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as NoConnection

__all__ = [
    'ERRORS',
    'EXPIRED',
    'STATUSES',
    'code_of',
    'exists_already',
    'is_denied',
    'is_missing',
    'may_be_done',
    'status_of',
    'status_of_answer',
]

#: Errors that boto3 raises when a request to SQS fails.
ERRORS = (ClientError, BotoCoreError, OSError)

MISSING = ('AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist')
DENIED = ('AccessDenied', 'AccessDeniedException')
EXISTS = ('QueueAlreadyExists', 'QueueNameExists')
#: AWS's names for credentials that have expired, or that it does not know yet.
EXPIRED = (
    *('ExpiredToken', 'ExpiredTokenException'),
    *('InvalidAccessKeyId', 'InvalidClientTokenId', 'UnrecognizedClientException'),
)
#: AWS's names for credentials that are wrong, or have no right to do it.
NO_RIGHT = (
    *EXPIRED,
    *DENIED,
    *('IncompleteSignature', 'MissingAuthenticationToken', 'SignatureDoesNotMatch'),
    *('IDPRejectedClaim', 'InvalidIdentityToken', 'InvalidSecurity'),
    *('KmsAccessDenied', 'NotAuthorized', 'OptInRequired'),
)
#: Parts of AWS's names for too many requests.
THROTTLED = ('Throttl', 'TooManyRequests', 'RequestLimitExceeded', 'SlowDown')

#: How a request ends.
STATUSES = ('ok', 'throttled', 'denied', 'timeout', 'unreachable', 'client error', 'server error')


def code_of(error: Exception) -> str:
    """Return SQS's name for an error, '' when it has none."""
    if isinstance(error, ClientError):
        return str(error.response.get('Error', {}).get('Code', ''))
    return ''


def is_missing(error: Exception) -> bool:
    """Return whether there is no such queue."""
    return code_of(error) in MISSING


def exists_already(error: Exception) -> bool:
    """Return whether a queue was to be created that exists with other attributes."""
    return code_of(error) in EXISTS


def is_denied(error: Exception) -> bool:
    """Return whether these credentials lack the right to do it."""
    return code_of(error) in DENIED


def may_be_done(error: Exception) -> bool:
    """Return whether SQS may have done what it was asked for, though its answer does not say so."""
    if isinstance(error, ClientError):
        return _http_status(error) < 300
    return isinstance(error, (ReadTimeoutError, ConnectionClosedError))


def status_of(error: Exception) -> str:
    """Return the one of `STATUSES` that an error stands for."""
    if isinstance(error, ClientError):
        status = status_of_answer(_http_status(error), code_of(error))
        # Success with something else than JSON, such as the login page of a proxy.
        return 'server error' if status == 'ok' else status
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return 'timeout'
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return 'denied'
    if isinstance(error, (NoConnection, HTTPClientError, OSError)):
        return 'unreachable'
    # A source of credentials may raise anything, such as the JSON decoder's errors.
    return 'client error' if isinstance(error, BotoCoreError) else 'denied'


def status_of_answer(http_status: int, code: str) -> str:
    """Return the one of `STATUSES` that an answer has; ``code`` is SQS's name for the error."""
    if http_status < 300:
        return 'ok'
    if http_status == 429 or any(name in code for name in THROTTLED):
        return 'throttled'
    if http_status == 401 or code.rpartition('.')[2] in NO_RIGHT:
        return 'denied'
    return 'server error' if http_status >= 500 else 'client error'


def _http_status(error: ClientError) -> int:
    return int(error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 400))
