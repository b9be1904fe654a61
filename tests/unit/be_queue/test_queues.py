"""The queue-task mapping: what it refuses, and what it declares once it is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from be_queue import BeQueueError, Config, MappingError, Queue, Queues

ADD = Queue(queue_name='worker-add', task='add')
COUNT = Queue(queue_name='worker-count.fifo', task='count')
OTHER = Queue(queue_name='other-service', task='other', consume=False)


def refusal(build: Callable[[], Any]) -> str:
    with pytest.raises(MappingError) as caught:
        build()
    return str(caught.value)


def test_refusals_are_value_errors_of_this_package() -> None:
    assert issubclass(MappingError, BeQueueError)
    assert issubclass(MappingError, ValueError)


@pytest.mark.parametrize('name', ['', 'a b', 'a.b', None])
def test_a_queue_name_that_sqs_would_refuse_is_refused_with_its_entry(name: Any) -> None:
    message = refusal(lambda: Queue(queue_name=name, task='add'))

    assert f"Queue(queue_name={name!r}, task='add'" in message
    assert 'queue_name' in message.partition('): ')[2]


@pytest.mark.parametrize('task', ['', '  ', None, 3])
def test_an_empty_task_name_is_refused_with_its_entry(task: Any) -> None:
    message = refusal(lambda: Queue(queue_name='add', task=task))

    assert "Queue(queue_name='add'" in message
    assert 'task must be the non-empty name of a task' in message


def test_a_pattern_in_place_of_a_task_is_refused() -> None:
    message = refusal(lambda: Queue(queue_name='add', task='app.tasks.*'))

    assert "'app.tasks.*' holds '*'" in message
    assert 'name the one task' in message


@pytest.mark.parametrize('weight', [0, -1, float('inf'), float('nan'), 'heavy', None])
def test_a_weight_must_be_a_positive_number(weight):
    message = refusal(lambda: Queue(queue_name='add', task='add', weight=weight))
    assert f'weight={weight!r}' in message


@pytest.mark.parametrize('receives', [0, 1001, -1, 2.0, '3', True, None])
def test_receives_that_sqs_would_refuse_are_refused(receives: Any) -> None:
    message = refusal(lambda: Queue(queue_name='add', task='add', max_receives=receives))

    assert f'max_receives={receives!r}' in message
    assert 'max_receives must be a whole number, 1 to 1000' in message


@pytest.mark.parametrize('receives', [1, 1000])
def test_receives_reach_the_transport_by_the_queues_name_on_sqs(receives: int) -> None:
    queues = Queues([ADD, Queue(queue_name='few', task='few', max_receives=receives)])

    options = Config(queues.build_celery('prod')).broker_transport_options

    assert options['max_receives'] == {'prod-worker-add': 10, 'prod-few': receives}


@pytest.mark.parametrize('name', ['', ' ', 5])
def test_a_rate_limit_name_that_is_none_is_refused_with_its_entry(name: Any) -> None:
    message = refusal(lambda: Queue(queue_name='add', task='add', ratelimit_name=name))

    assert f'ratelimit_name={name!r}' in message
    assert 'non-empty name, or None' in message


@pytest.mark.parametrize('limit', ['', ' ', 100])
def test_a_rate_limit_that_is_no_text_is_refused_with_its_entry(limit: Any) -> None:
    message = refusal(lambda: Queue(queue_name='add', task='add', ratelimit=limit))

    assert f'ratelimit={limit!r}' in message
    assert "'100/minute'" in message


def test_rate_limits_reach_the_transport_by_the_queues_name_on_sqs() -> None:
    queues = Queues(
        [
            ADD,
            Queue(queue_name='mail', task='mail', ratelimit_name='mail', ratelimit='5/second'),
            Queue(queue_name='slow', task='slow', ratelimit='1/minute'),
        ]
    )

    options = Config(queues.build_celery('prod')).broker_transport_options

    assert options['ratelimits'] == {
        'prod-mail': {'name': 'mail', 'limit': '5/second'},
        'prod-slow': {'name': None, 'limit': '1/minute'},
    }


def test_a_queue_name_in_two_entries_is_refused_with_both() -> None:
    twin = Queue(queue_name='worker-add', task='twin')

    message = refusal(lambda: Queues([ADD, COUNT, twin]))

    assert message.startswith(f'queues[2] {twin!r}')
    assert f"queue_name 'worker-add' is taken by {ADD!r}" in message
    assert 'each queue carries one task' in message


def test_a_task_in_two_entries_is_refused_with_both() -> None:
    twin = Queue(queue_name='twin', task='add')

    message = refusal(lambda: Queues([ADD, twin]))

    assert message.startswith(f'queues[1] {twin!r}')
    assert f"task 'add' is taken by {ADD!r}" in message
    assert 'each task has one queue' in message


def test_the_same_entry_twice_is_refused() -> None:
    message = refusal(lambda: Queues([ADD, Queue(queue_name='worker-add', task='add')]))

    assert "queue_name 'worker-add' is taken" in message


def test_the_celery_queue_cannot_be_taken() -> None:
    message = refusal(lambda: Queues([Queue(queue_name='celery', task='add')]))

    assert "'celery' is added by itself" in message


def test_an_entry_that_is_no_queue_is_refused_with_its_position() -> None:
    message = refusal(lambda: Queues([ADD, 'count']))  # type: ignore[list-item]

    assert message == "queues[1] is 'count': every entry must be a Queue"


@pytest.mark.parametrize('env', ['', 'my env', 'prod/eu'])
def test_an_illegal_environment_is_refused(env: str) -> None:
    assert f'env={env!r}' in refusal(lambda: Queues([ADD]).build_celery(env))


def test_a_name_too_long_only_with_its_prefix_is_refused_with_entry_and_rule() -> None:
    queue = Queue(queue_name='n' * 72, task='add')
    queues = Queues([queue])
    queues.build_celery('dev')

    message = refusal(lambda: queues.build_celery('prod'))

    assert message.startswith(repr(queue))
    assert f"'err-prod-{'n' * 72}', 81 characters; SQS takes 80" in message
    assert 'shorten queue_name by 1' in message


def test_an_environment_too_long_for_the_added_queues_is_refused() -> None:
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


def test_a_refused_environment_leaves_the_mapping_as_it_was() -> None:
    queues = Queues([ADD]).build_celery('prod')

    refusal(lambda: queues.build_celery(''))

    assert queues.sqs_name(ADD) == 'prod-worker-add'


@pytest.mark.parametrize(
    'use',
    [
        Queues.celery_task_queues,
        Queues.celery_task_routes,
        Queues.topology,
        lambda queues: queues.prefix,
        lambda queues: queues.sqs_name(ADD),
        lambda queues: queues.dead_letter_name(ADD),
        Config,
    ],
)
def test_a_mapping_used_before_it_was_built_says_how_to_build_it(
    use: Callable[[Queues], Any],
) -> None:
    message = refusal(lambda: use(Queues([ADD])))

    assert "call QUEUES.build_celery(env='...') before using it" in message


def test_build_celery_returns_the_mapping_itself() -> None:
    queues = Queues([ADD])

    assert queues.build_celery('prod') is queues


def test_the_environment_defaults_to_local() -> None:
    queues = Queues([ADD]).build_celery(username='alice')

    assert queues.prefix == 'alice-local'


def test_the_latest_environment_holds() -> None:
    queues = Queues([ADD]).build_celery('stage').build_celery('prod')

    assert queues.sqs_name(ADD) == 'prod-worker-add'


def test_full_and_dead_letter_names_follow_the_convention() -> None:
    queues = Queues([ADD, COUNT]).build_celery('local', username='alice')

    assert [queues.sqs_name(queue) for queue in queues] == [
        'alice-local-worker-add',
        'alice-local-worker-count.fifo',
    ]
    assert queues.dead_letter_name(COUNT) == 'err-alice-local-worker-count.fifo'


def test_the_declared_queues_are_celerys_the_platforms_and_the_mapped() -> None:
    queues = Queues([ADD, COUNT, OTHER]).build_celery('prod').celery_task_queues()

    assert {queue.name: queue.routing_key for queue in queues} == {
        'prod-celery': 'prod-celery',
        'prod-platform.fifo': '#',
        'prod-worker-add': 'prod-worker-add',
        'prod-worker-count.fifo': 'prod-worker-count.fifo',
        'prod-other-service': 'prod-other-service',
    }
    assert {(queue.exchange.name, queue.exchange.type) for queue in queues} == {
        ('task_exchange', 'topic')
    }


def test_an_empty_platform_name_leaves_the_platform_queue_out() -> None:
    queues = Queues([ADD]).build_celery('prod', platform_queue_name='')

    assert {queue.name for queue in queues.celery_task_queues()} == {
        'prod-celery',
        'prod-worker-add',
    }


def test_each_task_is_routed_to_its_queue() -> None:
    routes = Queues([ADD, COUNT]).build_celery('prod').celery_task_routes()

    assert routes == {
        'celery.*': {'queue': 'prod-celery'},
        'add': {'queue': 'prod-worker-add'},
        'count': {'queue': 'prod-worker-count.fifo'},
    }


def test_a_mapping_is_a_sized_iterable_of_its_entries() -> None:
    queues = Queues(iter([ADD, COUNT]))

    assert list(queues) == [ADD, COUNT]
    assert len(queues) == 2
    assert repr(ADD) in repr(queues)


def test_a_worker_that_registers_what_is_mapped_is_accepted() -> None:
    Queues([ADD, COUNT, OTHER]).check_registered({'add', 'count', 'celery.chord_unlock'})


def test_a_mapped_task_that_is_not_registered_is_named() -> None:
    message = refusal(lambda: Queues([ADD, COUNT]).check_registered({'add'}))

    assert re.fullmatch(r".*task 'count', which this worker does not register: .*", message)


def test_a_registered_task_that_is_not_mapped_is_named() -> None:
    message = refusal(lambda: Queues([ADD]).check_registered({'add', 'extra'}))

    assert "task 'extra' is registered, but no queue carries it" in message
    assert "task='extra'" in message


def test_a_task_that_another_worker_consumes_must_not_be_registered() -> None:
    message = refusal(lambda: Queues([ADD, OTHER]).check_registered({'add', 'other'}))

    assert "task 'other' is registered" in message


def test_all_faults_are_named_at_once() -> None:
    message = refusal(lambda: Queues([ADD, COUNT]).check_registered({'extra', 'more'}))

    assert len(message.splitlines()) == 4


def test_a_side_may_be_told_which_queues_it_consumes() -> None:
    queues = Queues([ADD, COUNT, OTHER]).build_celery('prod')

    queues.consume_only(['worker-count.fifo'])

    assert [queue.queue_name for queue in queues if queue.consume] == ['worker-count.fifo']
    assert queues.topology().not_consumed == ('prod-worker-add', 'prod-other-service')
    queues.check_registered({'add', 'count'})  # workers of other queues run the same code
    queues.consume_only(None)
    assert list(queues) == [ADD, COUNT, OTHER]


def test_a_queue_to_consume_that_is_not_mapped_is_refused() -> None:
    message = refusal(lambda: Queues([ADD, COUNT]).consume_only(['worker-add', 'ad', 'x']))

    assert message == 'no queue of the mapping: ad, x; it has worker-add, worker-count.fifo'
