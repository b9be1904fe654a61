"""Renews credentials that SQS calls expired, and obtains those of a role.

botocore renews credentials that come with an expiration before they expire. Others, such as those
of a shared credentials file that is rewritten, it reads once: without this a worker would have to
be restarted.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

from botocore.config import Config
from botocore.session import Session

from be_queue.transport.sqs_errors import EXPIRED

__all__ = ['assume_role', 'renew', 'renew_when_expired']

logger = logging.getLogger(__name__)

#: Seconds between two look-ups for a client: the metadata service may be slow.
INTERVAL_SECONDS = 2.0

#: The event loop waits for STS, and botocore's own limits add up to minutes.
STS_CONFIG = Config(connect_timeout=2, read_timeout=4, retries={'total_max_attempts': 2})

_looked_up_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def renew_when_expired(client: Any) -> None:
    """Have a boto3 client renew its credentials when SQS calls them expired, and retry once."""

    def after_answer(response: Any, attempts: int, **_: Any) -> float | None:
        code = response[1].get('Error', {}).get('Code') if response else None
        # Seconds until the retry, which is signed anew; None for no retry.
        return 0 if code in EXPIRED and attempts == 1 and renew(client) else None

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f'needs-retry.{service}', after_answer)


def renew(client: Any) -> bool:
    """Look up a boto3 client's credentials again; return whether they have changed.

    Credentials given in settings are left alone: nobody renews them.
    """
    signer = client._request_signer
    old = signer._credentials
    now = time.monotonic()
    is_early = now - _looked_up_at.get(client, float('-inf')) < INTERVAL_SECONDS
    if old is None or old.method == 'explicit' or is_early:
        return False
    _looked_up_at[client] = now
    try:
        found = Session().get_credentials()
        if found is None or found.get_frozen_credentials() == old.get_frozen_credentials():
            return False
    except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
        logger.warning('credentials for SQS have expired and cannot be renewed: %s', error)
        return False
    signer._credentials = found
    logger.info('credentials for SQS were renewed: source=%s', found.method)
    return True


def assume_role(role_arn: str, seconds: int) -> Any:
    """Return the credentials that STS gives for a role, for 900 seconds at least."""
    sts = Session().create_client('sts', config=STS_CONFIG)
    return sts.assume_role(RoleArn=role_arn, RoleSessionName='Celery', DurationSeconds=seconds)[
        'Credentials'
    ]
