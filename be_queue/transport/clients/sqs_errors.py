"""What SQS means by an error, whether boto3 raised it or the event loop's requests did."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as NoConnection

from be_queue.transport.clients.credentials import EXPIRED

__all__ = [
    'ERRORS',
    'STATUSES',
    'code_of',
    'exists_already',
    'is_denied',
    'is_missing',
    'status_of',
    'status_of_answer',
]

#: What a request to SQS raises.
ERRORS = (ClientError, BotoCoreError, OSError)

MISSING = ('AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist')
DENIED = ('AccessDenied', 'AccessDeniedException')
EXISTS = ('QueueAlreadyExists', 'QueueNameExists')
#: AWS's names for a login that may not, or is none.
NO_RIGHT = frozenset(
    {
        *DENIED,
        *EXPIRED,
        'IDPRejectedClaim',
        'IncompleteSignature',
        'InvalidIdentityToken',
        'InvalidSecurity',
        'KmsAccessDenied',
        'MissingAuthenticationToken',
        'NotAuthorized',
        'OptInRequired',
        'SignatureDoesNotMatch',
    }
)
#: AWS's names for too many requests.
THROTTLED = ('Throttl', 'TooManyRequests', 'RequestLimitExceeded', 'SlowDown')

#: HTTP status of a `RequestError` without an answer, as kombu has it.
NO_ANSWER = 599

#: How a request ends.
STATUSES = (
    'ok',
    'throttled',
    'denied',
    'timeout',
    'unreachable',
    'client error',
    'server error',
)


def code_of(error: Exception) -> str:
    """Return SQS's name for an error of boto3's, or for a `RequestError`."""
    if isinstance(error, ClientError):
        return str(error.response.get('Error', {}).get('Code', ''))
    return str(getattr(error, 'code', ''))


def is_missing(error: Exception) -> bool:
    """Return whether there is no such queue."""
    return code_of(error) in MISSING


def is_denied(error: Exception) -> bool:
    """Return whether this login may not do it."""
    return code_of(error) in DENIED


def status_of(error: Exception) -> str:
    """Return which of `STATUSES` an error of boto3's, or a `RequestError`, stands for."""
    if isinstance(error, ClientError):
        http_status = error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 400)
        return status_of_answer(http_status, code_of(error))
    if getattr(error, 'timed_out', False) or isinstance(
        error, (ConnectTimeoutError, ReadTimeoutError)
    ):
        return 'timeout'
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return 'denied'
    http_status = getattr(error, 'status', None)
    if http_status == NO_ANSWER or isinstance(error, (NoConnection, HTTPClientError, OSError)):
        return 'unreachable'
    if http_status == 200:
        return 'server error'  # an answer that cannot be read
    if http_status is not None:
        return status_of_answer(http_status, code_of(error))
    # A source of credentials raises what it likes, such as the JSON decoder's errors.
    return 'client error' if isinstance(error, BotoCoreError) else 'denied'


def status_of_answer(http_status: int, code: str) -> str:
    """Return which of `STATUSES` an answer has; ``code`` is SQS's name for the fault, if any."""
    if http_status < 300:
        return 'ok'
    if http_status == 429 or any(name in code for name in THROTTLED):
        return 'throttled'
    if http_status == 401 or code.rpartition('.')[2] in NO_RIGHT:
        return 'denied'
    return 'server error' if http_status >= 500 else 'client error'


def exists_already(error: Exception) -> bool:
    """Return whether a queue was to be made that is there, with other attributes."""
    return code_of(error) in EXISTS
