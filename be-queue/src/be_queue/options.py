"""The options in ``broker_transport_options``: kombu's for SQS, and our own beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Set
from math import inf
from typing import Any, NamedTuple

from be_queue.environment import closest
from be_queue.errors import SettingError
from be_queue.redact import redact

__all__ = ['check_options']

logger = logging.getLogger(__name__)

#: kombu's, which it checks itself if at all.
KOMBU = {
    *('client-config', 'fetch_message_attributes', 'is_secure', 'port', 'predefined_exchanges'),
    *('predefined_queues', 'queue_name_prefix', 'queue_tags', 'region', 'regioninfo'),
    *('sqs-creation-attributes', 'sqs_base64_encoding', 'sts_role_arn', 'sts_token_buffer_time'),
    *('supports_fanout', 'body_encoding', 'callback', 'connect_retries_timeout'),
    *('deadletter_queue', 'errback', 'interval_max', 'interval_start', 'interval_step'),
    *('max_retries', 'polling_interval'),
}


class Rule(NamedTuple):
    """The values that an option takes.

    Arguments:
        words: after "must be".
        fits: whether a value may be used.
    """

    words: str
    fits: Callable[[Any], bool]


def _number(low: float, high: float = inf, *, whole: bool = False) -> Rule:
    kinds = (int,) if whole else (int, float)
    limits = f'{low:g} or more' if high == inf else f'{low:g} to {high:,g}'
    return Rule(
        f'{"a whole number" if whole else "a number"}, {limits}',
        lambda value: type(value) in kinds and low <= value <= high and value != inf,
    )


def _each(rule: Rule) -> Rule:
    return Rule(
        f'a dict of queue names, each with {rule.words}',
        lambda value: isinstance(value, Mapping) and all(map(rule.fits, value.values())),
    )


RULES = {
    # kombu's, with the ranges of SQS.
    'sts_token_timeout': _number(900, 43_200, whole=True),
    'visibility_timeout': _number(1, 43_200, whole=True),
    'wait_time_seconds': _number(0, 20, whole=True),
    # Ours: see the README.
    'copies_to': Rule(
        'a list of queue names', lambda value: isinstance(value, (str, list, tuple, Set))
    ),
    'create_queues': Rule('True or False', lambda value: isinstance(value, bool)),
    'drain_timeout': _number(0),
    'hand_back_seconds': _number(0),
    'max_receives': _each(_number(1, 1000, whole=True)),
    'prefetch_seconds': _number(0),
    'ratelimits': Rule('a dict of queue names', lambda value: isinstance(value, Mapping)),
    'weights': _each(Rule('a number above 0', lambda v: _number(0).fits(v) and v > 0)),
}


def check_options(options: Mapping[str, Any], also: Collection[str]) -> None:
    """Raise `SettingError` for a value that cannot be used, and for a misspelt name.

    Another unknown name is a warning: a transport of your own may know it.

    Arguments:
        also: more names that are known.
    """
    for name, value in options.items():
        if name in RULES:
            if not RULES[name].fits(value):
                raise SettingError(
                    f'broker_transport_options: {name}={redact(value, name)!r}: '
                    f'must be {RULES[name].words}'
                )
        elif name not in KOMBU and name not in also:
            if hint := closest(name, {*KOMBU, *RULES}, 0.8):
                raise SettingError(
                    f'broker_transport_options: {name!r} is no option: did you mean {hint!r}?'
                )
            logger.warning('broker_transport_options: %r is no option of this transport', name)
