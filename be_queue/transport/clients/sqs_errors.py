"""What SQS means by an error, whether boto3 raised it or the event loop's requests did."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

__all__ = ['ERRORS', 'code_of', 'exists_already', 'is_denied', 'is_missing']

#: What a request to SQS raises.
ERRORS = (ClientError, BotoCoreError, OSError)

MISSING = ('AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist')
DENIED = ('AccessDenied', 'AccessDeniedException')
EXISTS = ('QueueAlreadyExists', 'QueueNameExists')


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


def exists_already(error: Exception) -> bool:
    """Return whether a queue was to be made that is there, with other attributes."""
    return code_of(error) in EXISTS
