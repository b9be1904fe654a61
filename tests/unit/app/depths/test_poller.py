"""One poller asks, and metrics and dashboard are served from what it knows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from app.web.depths import DepthCollector, DepthPoller
from app.web.depths.asking import Answer, Depth, QueueError
from tests.support.samples import samples
from tests.support.waiting import wait_until


class Broker:
    """Answers, or raises, what it is told to for each queue; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Exception] = {}
        self.asked: list[str] = []

    def ask(self, queue: str) -> Answer:
        self.asked.append(queue)
        answer = self.answers.get(queue, Answer(Depth(1, 2, 3, 4)))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def poller(broker: Broker) -> DepthPoller:
    return DepthPoller(broker.ask, ['a', 'b', 'c'])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def metrics(poller: DepthPoller) -> dict[str, float]:
    """Return the metrics by name and the values of their labels; ages by whether they are young."""
    found = samples(DepthCollector('p', poller).collect())
    return {
        ' '.join((name, *(value for _, value in labels))): number
        for (name, labels), number in found.items()
    }


def errors(poller: DepthPoller) -> list[float]:
    return [metrics(poller)[f'p_queue_depth_errors_total {queue}'] for queue in 'abc']


def test_all_that_is_known_is_served(poller: DepthPoller) -> None:
    poller.poll()
    found = metrics(poller)
    ages = [found.pop(f'p_queue_depth_age_seconds {queue}') for queue in 'abc']
    assert found.pop('p_queue_messages a visible') == poller.depth('a').visible == 1
    assert [value for name, value in found.items() if ' a' in name] == [2, 3, 4, 0]
    assert all(0 <= age < 60 for age in ages)


def test_before_the_first_answer_there_is_an_age_and_no_number(poller: DepthPoller) -> None:
    assert {name.split()[0] for name in metrics(poller)} == {
        'p_queue_depth_age_seconds',
        'p_queue_depth_errors_total',
    }
    assert poller.depth('a') is None


def test_numbers_of_a_broker_that_is_away_stay_and_grow_old(
    broker: Broker, poller: DepthPoller, logged: Callable[[], list[str]]
) -> None:
    poller.poll()
    age = metrics(poller)['p_queue_depth_age_seconds a']
    broker.answers['a'] = ConnectionError('nobody listens')
    broker.asked.clear()
    poller.poll()
    poller.poll()
    found = metrics(poller)
    assert found['p_queue_messages a visible'] == 1
    assert found['p_queue_depth_age_seconds a'] > age
    # Each of the others would only wait as long.
    assert broker.asked == ['a', 'a']
    assert errors(poller) == [2, 2, 2]
    (line,) = logged()
    assert 'nobody listens' in line
    assert 'SQS_ENDPOINT_URL' in line
    del broker.answers['a']
    poller.poll()
    assert len(logged()) == 2
    assert errors(poller) == [2, 2, 2]


def test_a_fault_of_one_queue_does_not_take_the_others_away(
    broker: Broker, poller: DepthPoller, logged: Callable[[], list[str]]
) -> None:
    broker.answers['a'] = QueueError('no right on a')
    broker.answers['b'] = Answer(Depth(7, 0, 0, None), 'no right on err-b')
    for _ in range(3):
        poller.poll()
    found = metrics(poller)
    assert 'p_queue_messages a visible' not in found
    assert 'p_queue_dead_letters b' not in found
    assert found['p_queue_messages b visible'] == 7
    assert found['p_queue_messages c visible'] == 1
    assert errors(poller) == [3, 3, 0]
    (line,) = logged()
    assert 'no right on a; no right on err-b' in line
    broker.answers.clear()
    poller.poll()
    assert len(logged()) == 2
    assert metrics(poller)['p_queue_dead_letters b'] == 4


def test_who_looks_gets_fresh_numbers_and_many_who_look_cost_one_question(
    broker: Broker, poller: DepthPoller
) -> None:
    threads = [threading.Thread(target=poller.refresh) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broker.asked == ['a', 'b', 'c']


def test_metrics_do_not_wait_for_an_answer(broker: Broker) -> None:
    answer = threading.Event()
    asked = threading.Event()

    def ask(queue: str) -> Answer:
        asked.set()
        answer.wait(60)
        return broker.ask(queue)

    poller = DepthPoller(ask, ['a'])
    thread = threading.Thread(target=poller.poll)
    thread.start()
    try:
        assert asked.wait(10)
        assert metrics(poller)['p_queue_depth_age_seconds a'] >= 0
        assert poller.depth('a') is None
        assert broker.asked == []
    finally:
        answer.set()
        thread.join()
    assert wait_until(lambda: poller.depth('a'), 'the answer is there').visible == 1


def test_without_a_poller_the_metrics_are_described() -> None:
    collector = DepthCollector('p')
    assert samples(collector.collect()) == {}
    assert [metric.name for metric in collector.describe()] == [
        'p_queue_messages',
        'p_queue_dead_letters',
        'p_queue_depth_age_seconds',
        'p_queue_depth_errors',
    ]
