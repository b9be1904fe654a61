"""Celery's configuration, the same for producers and workers."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from be_queue import environment, naming, results
from be_queue.errors import ChordTimeoutError, SettingError
from be_queue.options import check_options
from be_queue.queues import Queues
from be_queue.redact import redact, redact_text
from be_queue.topology import (
    CELERY_QUEUE,
    EXCHANGE,
    EXCHANGE_TYPE,
    PLATFORM_QUEUE,
    Topology,
    refuse_unmapped,
)

__all__ = ['Config']

#: Celery's task that polls for the end of a chord's header.
CHORD_UNLOCK = 'celery.chord_unlock'
#: User, password and host of an SQS server's URL; kombu, which gets them, reads no IPv6 address.
SQS_ENDPOINT = re.compile(
    r'https?://(?:([^:@/\s]+)(?::([^@/\s]*))?@)?([\w.-]+(?::\d{1,5})?)/?', re.ASCII
)


class Config:
    """Settings for ``app.config_from_object``, ready to use with nothing but the queues.

    Lower-case attributes are Celery settings. Each can be given as a keyword, or else as the
    environment variable ``CELERY_<SETTING>`` (a Python literal unless it is a text), or else has
    the default of `default_settings`. ``broker_transport_options`` given either way are merged
    into the defaults, key by key. ``CELERY_BROKER_URL`` and ``CELERY_RESULT_BACKEND`` win over
    keywords, since Celery itself reads them.

    Upper-case attributes are internal to this class; those below can be given as keyword or
    environment variable, and any other upper-case keyword is kept for your own use.

    Arguments:
        queues: a `Queues` mapping that was built, or the names of the queues that this side
            consumes or sends to. With names, tasks ``{name}.*`` go to queue ``name``. Kept as
            ``QUEUES``.

    Raises `SettingError` for a keyword or variable that cannot be used, `MappingError` for queue
    names that SQS would refuse and for a mapping that was not built.
    """

    #: Gets a copy of every message; '' switches it off.
    PLATFORM_QUEUE_NAME = PLATFORM_QUEUE
    #: Before queue names; variable ``QUEUE_PREFIX``. A `Queues` mapping brings its own.
    QUEUE_NAME_PREFIX = 'dev'
    RESULT_DB_USER = 'cadasta'
    RESULT_DB_PASS = 'cadasta'
    RESULT_DB_HOST = 'localhost'
    RESULT_DB_PORT = 5432
    RESULT_DB_NAME = 'cadasta'
    #: Seconds for the result backend to answer.
    RESULT_BACKEND_TIMEOUT = 2.0
    AWS_REGION = 'us-west-2'
    #: Another SQS server than AWS: ``http[s]://[key:secret@]host[:port]``.
    SQS_ENDPOINT_URL = ''
    #: Send tasks that no queue carries, to Celery's own queue.
    ALLOW_UNMAPPED_TASKS = False
    #: Seconds after which a chord fails whose header has not finished.
    CHORD_TIMEOUT = 86_400.0

    def __init__(self, queues: Queues | Iterable[str], **settings: Any) -> None:
        self._given = _given({name: v for name, v in settings.items() if not name.isupper()})
        self.QUEUES = queues if isinstance(queues, Queues) else _checked_names(queues)
        self._set_own({name: v for name, v in settings.items() if name.isupper()})
        self.TOPOLOGY = self._topology()
        chosen = self.default_settings()
        options = self._merged_options(chosen['broker_transport_options'])
        chosen |= self._given
        chosen |= {'broker_transport_options': options, 'task_annotations': self._annotations()}
        url, transport = str(chosen['broker_url']), str(chosen['broker_transport'])
        # Other brokers have other options. A class is the user's own, or ours.
        if url.startswith('sqs:') and (transport == 'sqs' or ':' in transport):
            check_options(options)
        vars(self).update(chosen)

    def default_settings(self) -> dict[str, Any]:
        """Return the Celery settings that hold where neither keyword nor variable is given.

        Override it, and extend what ``super()`` returns, to give an application its own defaults.
        """
        topology = self.TOPOLOGY
        result_backend = self._result_backend()
        return {
            'broker_url': broker_url(self.SQS_ENDPOINT_URL),
            'broker_transport': 'be_queue.transport:Transport',
            'broker_transport_options': self._transport_options(),
            'result_backend': result_backend,
            'database_engine_options': results.engine_options(
                result_backend, self.RESULT_BACKEND_TIMEOUT
            ),
            'override_backends': dict.fromkeys(
                ('db', 'database'), 'be_queue.database:DatabaseBackend'
            ),
            'redis_socket_timeout': self.RESULT_BACKEND_TIMEOUT,
            'redis_socket_connect_timeout': self.RESULT_BACKEND_TIMEOUT,
            'result_backend_transport_options': {
                'retry_policy': {'timeout': self.RESULT_BACKEND_TIMEOUT}
            },
            # Each retry would block reading a result for as long again. `get()` polls anyway.
            'result_backend_max_retries': 0,
            'result_extended': True,
            'task_queues': set(topology.queues()),
            'task_routes': self._routes(),
            'task_default_exchange': EXCHANGE,
            'task_default_exchange_type': EXCHANGE_TYPE,
            'task_default_queue': topology.celery,
            'task_default_routing_key': topology.celery,
            # A misspelt queue is an error at the sender, not a new queue that nobody consumes.
            'task_create_missing_queues': False,
            'task_track_started': True,
            # A message is deleted after its result is stored, and comes back when its child dies.
            'task_acks_late': True,
            'task_reject_on_worker_lost': True,
            'worker_consumer': 'be_queue.consumer:Consumer',
            # A message for each child. The transport adds to that while tasks are short.
            'worker_prefetch_multiplier': 1,
            # The first result makes the tables: a producer may be unable to reach the database, and
            # its first send_task would fail after seconds.
            'database_create_tables_at_setup': False,
        }

    def given(self, name: str, default: Any = None) -> Any:
        """Return a Celery setting that a keyword or variable gave, else ``default``."""
        return self._given.get(name, default)

    def not_consumed(self) -> list[str]:
        """Return the kombu names of the queues that a worker declares but must leave alone."""
        return sorted(queue.name for queue in self.TOPOLOGY.queues() if not queue.consumed)

    def __repr__(self) -> str:
        shown = {name: v for name, v in sorted(vars(self).items()) if name[0].islower()}
        return f'{type(self).__name__}({redact(shown)!r})'

    def _result_backend(self) -> str:
        return self.given('result_backend') or results.default_backend(
            user=self.RESULT_DB_USER,
            password=self.RESULT_DB_PASS,
            host=self.RESULT_DB_HOST,
            port=str(self.RESULT_DB_PORT),
            name=self.RESULT_DB_NAME,
        )

    def _set_own(self, given: dict[str, Any]) -> None:
        platform = PLATFORM_QUEUE
        if isinstance(self.QUEUES, Queues):
            platform = self.QUEUES.platform_queue_name
            given['QUEUE_NAME_PREFIX'] = self.QUEUES.prefix
        # Empty is a value here, not the absence of one.
        platform = os.environ.get('PLATFORM_QUEUE_NAME', platform)
        if given.get('PLATFORM_QUEUE_NAME') is None:
            given['PLATFORM_QUEUE_NAME'] = platform
        vars(self).update(given)
        for name, default in vars(Config).items():
            if name.isupper():
                setattr(self, name, environment.own_setting(name, given.get(name), default))

    def _topology(self) -> Topology:
        if isinstance(self.QUEUES, Queues):
            topology = self.QUEUES.topology(self.PLATFORM_QUEUE_NAME)
        else:
            # Both may be listed, and are added by themselves.
            added = {CELERY_QUEUE, PLATFORM_QUEUE, self.PLATFORM_QUEUE_NAME}
            self.QUEUES = tuple(name for name in self.QUEUES if name not in added)
            topology = Topology(work=self.QUEUES, platform=self.PLATFORM_QUEUE_NAME)
            self._check_topology(topology)
        return replace(
            topology,
            exchange_name=self.given('task_default_exchange', EXCHANGE),
            exchange_type=self.given('task_default_exchange_type', EXCHANGE_TYPE),
        )

    def _check_topology(self, topology: Topology) -> None:
        if not self.QUEUE_NAME_PREFIX:
            raise SettingError("QUEUE_NAME_PREFIX='': must be a text, for example 'dev'")
        if topology.platform == CELERY_QUEUE:
            raise SettingError(
                f"PLATFORM_QUEUE_NAME={CELERY_QUEUE!r}: that queue takes Celery's own tasks, "
                'and the platform queue gets a copy of every message: name another'
            )
        for name in (topology.celery, topology.platform, *topology.work):
            full_name = naming.sqs_name(self.QUEUE_NAME_PREFIX, name)
            naming.check_sqs_name(full_name, f'the queue {name!r}')

    def _merged_options(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the transport: the defaults with those that were given."""
        given = self.given('broker_transport_options') or {}
        if not isinstance(given, Mapping):
            shown = redact_text(str(given))
            raise SettingError(f'broker_transport_options={shown!r}: must be a dict')
        options = {**defaults, **given}
        for name in ('max_receives', 'weights'):  # where none is given, that of the mapping holds
            if isinstance(options.get(name), Mapping):
                options[name] = {**defaults.get(name, {}), **options[name]}
        return options

    def _routes(self) -> list[Any]:
        if isinstance(self.QUEUES, Queues):
            known = self.QUEUES.celery_task_routes()
        else:
            known = self.TOPOLOGY.routes({f'{name}.*': name for name in self.QUEUES})
        return [known] if self.ALLOW_UNMAPPED_TASKS else [known, refuse_unmapped(known)]

    def _annotations(self) -> Any:
        """Return ``task_annotations``, with an end to Celery's polling of a chord's header."""
        given = self.given('task_annotations') or {}
        if not isinstance(given, Mapping):
            return given
        polls = self.CHORD_TIMEOUT / self.given('result_chord_retry_interval', 1.0)
        bound = {
            'max_retries': math.ceil(polls),
            'MaxRetriesExceededError': ChordTimeoutError,
            'throws': (ChordTimeoutError,),  # Celery has logged it
        }
        return {CHORD_UNLOCK: bound, **given}

    def _transport_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {'region': self.AWS_REGION}
        if isinstance(self.QUEUES, Queues):
            queues = {self.QUEUES.sqs_name(queue): queue for queue in self.QUEUES}
            options |= {
                'queue_name_prefix': '',  # the names carry it
                'weights': {name: queue.weight for name, queue in queues.items()},
                'max_receives': {name: queue.max_receives for name, queue in queues.items()},
                # For a transport that limits rates; ours does not.
                'ratelimits': {
                    name: {'name': queue.ratelimit_name, 'limit': queue.ratelimit}
                    for name, queue in queues.items()
                    if queue.ratelimit_name or queue.ratelimit
                },
            }
        else:
            options['queue_name_prefix'] = f'{self.QUEUE_NAME_PREFIX}-'
        if self.TOPOLOGY.platform:
            options['copies_to'] = [self.TOPOLOGY.platform]
        if self.SQS_ENDPOINT_URL:
            options['is_secure'] = self.SQS_ENDPOINT_URL.startswith('https:')
        return options


def broker_url(endpoint: str) -> str:
    """Return ``sqs://[key:secret@]host[:port]`` for the URL of an SQS server, ``sqs://`` for AWS.

    Raises `SettingError` for an endpoint that cannot be used.
    """
    if not endpoint:
        return 'sqs://'
    match = SQS_ENDPOINT.fullmatch(endpoint)
    if match is None:
        raise SettingError(
            f"SQS_ENDPOINT_URL={redact(endpoint)!r}: must be http:// or https://, a host's name or "
            'IPv4 address and a port, without a path, for example http://127.0.0.1:4566'
        )
    user, password, host = match.groups()
    login = f'{user}:{quote(password or "", safe="%")}@' if user else ''
    return f'sqs://{login}{host}'


def _given(keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the Celery settings that keywords and environment variables give."""
    known = environment.known_settings()
    for name in keywords:
        if name not in known:
            hint = environment.closest(name, known, 0.7)
            meant = f'did you mean {hint}?' if hint else 'name variables of your own in upper case'
            raise SettingError(f'{name} is not a Celery setting: {meant}')
    return environment.celery_settings(os.environ) | keywords


def _checked_names(queues: Iterable[str]) -> tuple[str, ...]:
    if isinstance(queues, str) or not isinstance(queues, Iterable):
        raise SettingError(f'queues={queues!r}: must be a list of names or a Queues mapping')
    names = tuple(queues)
    for position, name in enumerate(names):
        naming.check_queue_name(name, f'queues[{position}]')
    return tuple(dict.fromkeys(names))
