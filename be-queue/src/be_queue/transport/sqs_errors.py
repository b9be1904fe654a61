"""Classifies errors of SQS, from boto3 and from requests of the event loop."""

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

from be_queue.errors import BeQueueError

__all__ = [
    'ERRORS',
    'EXPIRED',
    'NO_ANSWER',
    'STATUSES',
    'RequestError',
    'code_of',
    'exists_already',
    'is_denied',
    'is_missing',
    'status_of',
    'status_of_answer',
]

#: Errors that boto3 raises when a request to SQS fails.
ERRORS = (ClientError, BotoCoreError, OSError)

MISSING = ('AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist')
DENIED = ('AccessDenied', 'AccessDeniedException')
EXISTS = ('QueueAlreadyExists', 'QueueNameExists')
#: AWS's names for credentials that have expired, or that it does not know yet.
EXPIRED = frozenset(
    {
        'ExpiredToken',
        'ExpiredTokenException',
        'InvalidAccessKeyId',
        'InvalidClientTokenId',
        'UnrecognizedClientException',
    }
)
#: AWS's names for credentials that are wrong, or have no right to do it.
NO_RIGHT = EXPIRED.union(
    DENIED,
    (
        'IDPRejectedClaim',
        'IncompleteSignature',
        'InvalidIdentityToken',
        'InvalidSecurity',
        'KmsAccessDenied',
        'MissingAuthenticationToken',
        'NotAuthorized',
        'OptInRequired',
        'SignatureDoesNotMatch',
    ),
)
#: Parts of AWS's names for too many requests.
THROTTLED = ('Throttl', 'TooManyRequests', 'RequestLimitExceeded', 'SlowDown')

#: HTTP status of a `RequestError` without an answer, as in kombu.
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


class RequestError(BeQueueError):
    """A request from the event loop failed.

    Arguments:
        operation: SQS's name for it.
        status: HTTP status; `NO_ANSWER` when no answer came.
        code: SQS's name for the error, '' when no answer came.
        message: SQS's message, or curl's.
        maybe_done: SQS may have done it all the same.
        timed_out: no answer came in time.
    """

    def __init__(
        self,
        operation: str,
        status: int,
        code: str,
        message: str,
        maybe_done: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(f'{operation}: status={status} code={code or None} {message}')
        self.status = status
        self.code = code
        self.maybe_done = maybe_done
        self.timed_out = timed_out


def code_of(error: Exception) -> str:
    """Return SQS's name for an error, '' when it has none."""
    if isinstance(error, ClientError):
        return str(error.response.get('Error', {}).get('Code', ''))
    return error.code if isinstance(error, RequestError) else ''


def is_missing(error: Exception) -> bool:
    """Return whether there is no such queue."""
    return code_of(error) in MISSING


def exists_already(error: Exception) -> bool:
    """Return whether a queue was to be created that exists with other attributes."""
    return code_of(error) in EXISTS


def is_denied(error: Exception) -> bool:
    """Return whether these credentials lack the right to do it."""
    return code_of(error) in DENIED


def status_of(error: Exception) -> str:
    """Return the one of `STATUSES` that an error stands for."""
    if isinstance(error, ClientError):
        metadata = error.response.get('ResponseMetadata', {})
        return status_of_answer(metadata.get('HTTPStatusCode', 400), code_of(error))
    if isinstance(error, RequestError):
        if error.status == NO_ANSWER:
            return 'timeout' if error.timed_out else 'unreachable'
        # Status 200 with something else than JSON, such as the login page of a proxy.
        return 'server error' if error.status == 200 else status_of_answer(error.status, error.code)
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
