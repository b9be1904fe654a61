"""The options in ``broker_transport_options``: kombu's for SQS, and our own beside them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from math import inf
from typing import Any

from be_queue.environment import ABOVE_0, Rule, closest, whole
from be_queue.errors import SettingError
from be_queue.redact import redact

__all__ = ['check_options']

#: kombu's, which it checks itself if at all.
KOMBU = {
    *('client-config', 'fetch_message_attributes', 'is_secure', 'port', 'predefined_exchanges'),
    *('predefined_queues', 'queue_name_prefix', 'queue_tags', 'region', 'regioninfo'),
    *('sqs-creation-attributes', 'sqs_base64_encoding', 'sts_role_arn', 'sts_token_buffer_time'),
    *('supports_fanout', 'body_encoding', 'callback', 'connect_retries_timeout'),
    *('deadletter_queue', 'errback', 'interval_max', 'interval_start', 'interval_step'),
    *('max_retries', 'polling_interval'),
}


def _each(rule: Rule) -> Rule:
    return Rule(
        f'a dict of queue names, each with {rule.words}',
        lambda value: isinstance(value, Mapping) and all(map(rule.fits, value.values())),
    )


SECONDS = Rule('a number, 0 or more', lambda v: type(v) in (int, float) and 0 <= v < inf)
RULES = {
    # kombu's, with the ranges of SQS.
    'sts_token_timeout': whole(900, 43_200),
    'visibility_timeout': whole(1, 43_200),
    'wait_time_seconds': whole(0, 20),
    # Ours: see the README.
    'copies_to': Rule('a list of queue names', lambda v: isinstance(v, (str, list, tuple, Set))),
    'create_queues': Rule('True or False', lambda v: isinstance(v, bool)),
    'drain_timeout': SECONDS,
    'hand_back_seconds': SECONDS,
    'max_receives': _each(whole(1, 1000)),
    'prefetch_seconds': SECONDS,
    'ratelimits': Rule('a dict of queue names', lambda v: isinstance(v, Mapping)),
    'weights': _each(ABOVE_0),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `SettingError` for a value that cannot be used, and for a misspelt name.

    Any other name is left alone: a transport of your own may know it.
    """
    for name, value in options.items():
        if name in RULES and not RULES[name].fits(value):
            raise SettingError(
                f'broker_transport_options: {name}={redact(value, name)!r}: '
                f'must be {RULES[name].words}'
            )
        known = KOMBU | RULES.keys()
        if name not in known and (hint := closest(name, known, 0.8)):
            raise SettingError(
                f'broker_transport_options: {name!r} is no option: did you mean {hint!r}?'
            )
