"""What ``broker_transport_options`` may hold: kombu's options for SQS, and our own beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, NamedTuple

from be_queue.environment import closest
from be_queue.errors import SettingError
from be_queue.redact import redact

__all__ = ['check_options']

logger = logging.getLogger(__name__)


class Rule(NamedTuple):
    """The values that an option takes.

    Arguments:
        words: after "must be".
        fits: whether a value may be used.
    """

    words: str
    fits: Callable[[Any], bool]


def _kind(words: str, *kinds: type) -> Rule:
    return Rule(words, lambda value: value is None or isinstance(value, kinds))


def _number(low: float, high: float = inf, *, whole: bool = False, unset: bool = True) -> Rule:
    kinds = (int,) if whole else (int, float)
    name = 'a whole number' if whole else 'a number'
    to = f'{low:g} or more' if high == inf else f'{low:g} to {high:,g}'

    def fits(value: Any) -> bool:
        if value is None:
            return unset
        return type(value) in kinds and low <= value <= high and value != inf

    return Rule(f'{name}, {to}', fits)


def _each(rule: Rule) -> Rule:
    def fits(value: Any) -> bool:
        return value is None or (
            isinstance(value, Mapping)
            and all(each is not None and rule.fits(each) for each in value.values())
        )

    return Rule(f'a dict of queue names, each with {rule.words}', fits)


ANYTHING = _kind('', object)
DICT = _kind("a dict such as {'key': 1}", Mapping)
FLAG = _kind('True or False', bool)
TEXT = _kind('a text', str)

OPTIONS: dict[str, Rule] = {
    # kombu's for SQS. The ranges are those of SQS.
    'client-config': DICT,
    'fetch_message_attributes': ANYTHING,
    'is_secure': FLAG,
    'port': ANYTHING,
    'predefined_exchanges': DICT,
    'predefined_queues': DICT,
    'queue_name_prefix': TEXT,
    'queue_tags': DICT,
    'region': TEXT,
    'regioninfo': ANYTHING,
    'sqs-creation-attributes': DICT,
    'sqs_base64_encoding': FLAG,
    'sts_role_arn': TEXT,
    'sts_token_buffer_time': _number(0),
    'sts_token_timeout': _number(900, 43_200, whole=True),
    'supports_fanout': FLAG,
    'visibility_timeout': _number(1, 43_200, whole=True),
    'wait_time_seconds': _number(0, 20, whole=True, unset=False),
    # kombu's for any broker.
    'body_encoding': ANYTHING,
    'callback': ANYTHING,
    'connect_retries_timeout': _number(0),
    'deadletter_queue': TEXT,
    'errback': ANYTHING,
    'interval_max': _number(0),
    'interval_start': _number(0),
    'interval_step': _number(0),
    'max_retries': _number(0, whole=True),
    'polling_interval': _number(0),
    # Ours: see the README.
    'copies_to': _kind('a list of queue names', str, list, tuple, set, frozenset),
    'create_queues': FLAG,
    'drain_timeout': _number(0),
    'hand_back_seconds': _number(0, unset=False),
    'max_receives': _each(_number(1, 1000, whole=True)),
    'prefetch_seconds': _number(0, unset=False),
    'ratelimits': DICT,
    'weights': _each(Rule('a number above 0', lambda value: _number(0).fits(value) and value > 0)),
}


def check_options(options: Mapping[str, Any], also: Collection[str]) -> None:
    """Raise `SettingError` for a value that cannot be used, and for a misspelt name.

    Another unknown name is a warning: a transport of your own may know it.

    Arguments:
        also: more names that are known.
    """
    for name, value in options.items():
        rule = OPTIONS.get(name)
        if rule is not None and not rule.fits(value):
            raise SettingError(
                f'broker_transport_options: {name}={redact(value, name)!r}: must be {rule.words}'
            )
        if rule is None and name not in also:
            if hint := closest(name, OPTIONS, 0.8):
                raise SettingError(
                    f'broker_transport_options: {name!r} is no option: did you mean {hint!r}?'
                )
            logger.warning('broker_transport_options: %r is no option of this transport', name)
