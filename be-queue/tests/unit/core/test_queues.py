"""The queue-task mapping: what it refuses, and what it declares once it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from be_queue import Config, MappingError, Queue, Queues

ADD = Queue(queue_name='worker-add', task='add')
COUNT = Queue(queue_name='worker-count.fifo', task='count')
OTHER = Queue(queue_name='other-service', task='other', consume=False)


def refusal(build: Callable[[], Any]) -> str:
    with pytest.raises(MappingError) as caught:
        build()
    return str(caught.value)


@pytest.mark.parametrize(
    ('field', 'value', 'rule'),
    [
        *(('queue_name', value, 'must be a non-empty text') for value in ('', None)),
        *(('queue_name', value, 'may hold letters, digits') for value in ('a b', 'a.b')),
        *(('task', value, 'the non-empty name of a task') for value in ('  ', 3)),
        ('task', 'app.tasks.*', "task holds '*'"),
        *(('weight', value, 'a number above 0') for value in (0, float('nan'), 'heavy')),
        *(('max_receives', value, '1 to 1000') for value in (0, 1001, 2.0, True)),
        *(('ratelimit_name', value, 'a text, or None') for value in (' ', 5)),
        ('ratelimit', 100, 'a text, or None'),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_the_rule(
    field: str, value: Any, rule: str
) -> None:
    message = refusal(lambda: Queue(**{'queue_name': 'add', 'task': 'add', field: value}))

    entry, _, words = message.partition('): ')
    assert entry.startswith('Queue(queue_name=')
    assert f'{field}={value!r}' in entry
    assert rule in words


@pytest.mark.parametrize(
    ('entry', 'rule'),
    [
        (Queue(queue_name='worker-add', task='twin'), f"queue_name 'worker-add' is taken by {ADD}"),
        (Queue(queue_name='twin', task='add'), f"task 'add' is taken by {ADD}"),
        (Queue(queue_name='celery', task='own'), "'celery' is added by itself"),
        ('count', 'every entry must be a Queue'),
    ],
)
def test_an_entry_beside_which_another_cannot_be_is_refused_with_its_position(
    entry: Any, rule: str
) -> None:
    message = refusal(lambda: Queues([ADD, COUNT, entry]))
    assert message.startswith('queues[2] ')
    assert rule in message


def test_a_name_too_long_only_with_its_prefix_is_refused_and_changes_nothing() -> None:
    queue = Queue(queue_name='n' * 72, task='add')
    queues = Queues([queue]).build_celery('dev')

    message = refusal(lambda: queues.build_celery('prod'))

    assert message.startswith(repr(queue))
    assert 'shorten queue_name by 1' in message
    assert queues.sqs_name(queue).startswith('dev-')
    assert "the queue 'celery'" in refusal(lambda: Queues([]).build_celery('p' * 70))


@pytest.mark.parametrize(
    ('platform', 'rule'),
    [
        ('a b', 'letters, digits'),
        ('p' * 80, 'SQS takes 80'),
        ('celery', "'celery' has another use"),
        ('worker-add', "'worker-add' has another use"),
    ],
)
def test_a_platform_queue_that_cannot_be_is_refused(platform: str, rule: str) -> None:
    message = refusal(lambda: Queues([ADD]).build_celery('prod', platform_queue_name=platform))
    assert message.startswith(f'platform_queue_name={platform!r}')
    assert rule in message


@pytest.mark.parametrize('use', [Queues.celery_task_queues, Queues.celery_task_routes, Config])
def test_a_mapping_used_before_it_was_built_says_how_to_build_it(
    use: Callable[[Queues], Any],
) -> None:
    message = refusal(lambda: use(Queues([ADD])))
    assert "call QUEUES.build_celery(env='...') before using it" in message


def test_a_mapping_declares_celerys_queue_the_platforms_and_its_own() -> None:
    mapping = Queues(iter([ADD, COUNT, OTHER])).build_celery(username='alice').build_celery('prod')
    queues = mapping.celery_task_queues()

    assert {queue.name: queue.routing_key for queue in queues} == {
        'prod-celery': 'prod-celery',
        'prod-platform.fifo': '#',
        'prod-worker-add': 'prod-worker-add',
        'prod-worker-count.fifo': 'prod-worker-count.fifo',
        'prod-other-service': 'prod-other-service',
    }
    assert {(q.exchange.name, q.exchange.type) for q in queues} == {('task_exchange', 'topic')}
    assert mapping.celery_task_routes() == {
        'celery.*': {'queue': 'prod-celery'},
        'add': {'queue': 'prod-worker-add'},
        'count': {'queue': 'prod-worker-count.fifo'},
        'other': {'queue': 'prod-other-service'},
    }


def test_limits_and_receives_reach_the_transport_by_the_queues_names_on_sqs() -> None:
    mail = Queue(queue_name='mail', task='mail', ratelimit_name='mail', ratelimit='5/second')
    slow = Queue(queue_name='slow', task='slow', ratelimit='1/minute', max_receives=1)

    options = Config(Queues([ADD, mail, slow]).build_celery('prod')).broker_transport_options

    assert options['ratelimits'] == {
        'prod-mail': {'name': 'mail', 'limit': '5/second'},
        'prod-slow': {'name': None, 'limit': '1/minute'},
    }
    assert options['max_receives'] == {'prod-worker-add': 10, 'prod-mail': 10, 'prod-slow': 1}


def test_tasks_that_are_not_both_registered_and_mapped_are_named_at_once() -> None:
    queues = Queues([ADD, COUNT, OTHER])
    queues.check_registered({'add', 'count', 'celery.chord_unlock'})

    lines = refusal(lambda: queues.check_registered({'count', 'one', 'other'})).splitlines()

    faults = ["'add', which", "'one' is registered", "'other' is registered"]
    assert all(fault in line for fault, line in zip(faults, lines, strict=True))


def test_a_side_may_be_told_which_queues_it_consumes() -> None:
    queues = Queues([ADD, COUNT, OTHER]).build_celery('prod')

    queues.consume_only(['worker-count.fifo'])

    assert [queue.queue_name for queue in queues if queue.consume] == ['worker-count.fifo']
    assert queues.topology().not_consumed == ('prod-worker-add', 'prod-other-service')
    queues.check_registered({'add', 'count'})  # workers of other queues run the same code
    queues.consume_only(None)
    assert list(queues) == [ADD, COUNT, OTHER]

    message = refusal(lambda: queues.consume_only(['worker-add', 'ad', 'x']))
    assert message.startswith('no queue of the mapping: ad, x; it has worker-add, worker-count')
