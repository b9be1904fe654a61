"""The history as the dashboard and the command read it, from PostgreSQL and from SQLite."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context
from sqlalchemy import event

from be_queue import Config, SettingError
from be_queue.testing.postgres import PostgresServer
from be_queue.worker.history import Filter, History, Task, hour, migrate, pages, save
from be_queue.worker.history.tables import TASKS

NOW = datetime.now(timezone.utc).replace(microsecond=0)
NAMES, QUEUES = ('add', 'slow', "o'brien"), ('one', 'two')
STORED = (states.STARTED, states.RETRY, states.SUCCESS, states.FAILURE, states.REVOKED)
HOSTILE = '<script>alert("x")</script>\'; DROP TABLE tasks; --'


@pytest.fixture(params=['postgresql', 'sqlite'])
def app(request: Any, postgres: PostgresServer, tmp_path: Path) -> Iterator[Celery]:
    """An app whose database nobody else uses."""
    app = Celery(set_as_current=False)
    if request.param == 'sqlite':
        app.config_from_object(Config([], result_backend=f'db+sqlite:///{tmp_path}/results.sqlite'))
        yield app
        return
    name = f'h{uuid.uuid4().hex[:10]}'
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE {name}')
        url = postgres.backend_url.removesuffix(postgres.name) + name
        app.config_from_object(Config([], result_backend=url))
        yield app
        connection.execute(f'DROP DATABASE {name} WITH (FORCE)')


@pytest.fixture
def history(app: Celery) -> Iterator[History]:
    migrate(app)
    history = History(app)
    yield history
    history.engine.dispose()


def sent(history: History, task_id: str = '', **values: Any) -> str:
    row = {
        'task_id': task_id or uuid.uuid4().hex,
        'name': 'add',
        'queue': 'one',
        'retries': 0,
        'sent_at': NOW,
        'seen_at': NOW,
    }
    save(history.engine, [row | values])
    return str(row['task_id'])


def stored(app: Celery, task_id: str, state: str, result: Any = None, **request: Any) -> None:
    given = {
        'id': task_id, 'task': 'add', 'hostname': 'celery@a', 'args': (), 'kwargs': {},
        'retries': 0, 'delivery_info': {'routing_key': 'one'},
    }  # fmt: skip
    if state in states.EXCEPTION_STATES:
        result = result or ValueError('no such order')
    app.backend.store_result(task_id, result, state, request=Context(given | request))


def fill(history: History, app: Celery, count: int, chance: random.Random) -> list[Task]:
    """Write tasks of all kinds; return them as the history knows them."""
    for n in range(count):
        name, queue = chance.choice(NAMES), chance.choice(QUEUES)
        # Many in the same second.
        at = NOW - timedelta(seconds=chance.randrange(count // 4))
        task_id = sent(
            history, f'{chance.getrandbits(32):x}-{n}', name=name, queue=queue, sent_at=at
        )
        if chance.random() < 0.8:
            state = chance.choice(STORED)
            stored(app, task_id, state, task=name, delivery_info={'routing_key': queue})
    with history.engine.connect() as connection:
        ids = connection.execute(TASKS.select()).scalars().all()
    return [task for task_id in ids if (task := history.find(task_id))]


def listed(history: History, chosen: Filter, count: int = 7) -> list[str]:
    """Return the ids of all pages."""
    found, after = [], None
    for _ in range(1000):
        page = history.page(chosen, after, count)
        assert len(page.tasks) <= count
        found += [task.id for task in page.tasks]
        after = page.next
        if after is None:
            return found
    raise AssertionError('the pages do not end')


def is_chosen(task: Task, chosen: Filter) -> bool:
    assert task.sent_at is not None
    return (
        chosen.state in ('', task.state)
        and chosen.name in ('', task.name)
        and chosen.queue in ('', task.queue)
        and not (chosen.since and task.sent_at < chosen.since)
        and not (chosen.until and task.sent_at >= chosen.until)
    )


def test_every_filter_finds_what_it_names_once_however_few_rows_a_page_may_look_at(
    history: History, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, 'TASKS_WALKED', 10)
    monkeypatch.setattr(pages, 'RESULTS_WALKED', 10)
    chance = random.Random(4711)
    tasks = fill(history, app, 160, chance)
    some = [None, NOW - timedelta(seconds=30), NOW - timedelta(seconds=12)]
    for state in ('', states.PENDING, *STORED, HOSTILE):
        for _ in range(12):
            chosen = Filter(
                state,
                chance.choice(('', *NAMES)),
                chance.choice(('', *QUEUES)),
                chance.choice(some),
                chance.choice(some),
            )
            found = listed(history, chosen)
            assert sorted(found) == sorted(t.id for t in tasks if is_chosen(t, chosen)), chosen
    for chosen in (Filter(), Filter(states.PENDING), Filter(name='add', until=NOW)):
        matching = [task for task in tasks if is_chosen(task, chosen)]
        matching.sort(key=lambda task: (task.sent_at, task.id), reverse=True)
        assert listed(history, chosen) == [task.id for task in matching]


@pytest.mark.parametrize('chosen', [Filter(), Filter(states.SUCCESS), Filter(states.PENDING)])
def test_new_tasks_come_before_a_page_and_shift_none(
    history: History, app: Celery, chosen: Filter
) -> None:
    before = []
    for n in range(12):
        before.append(sent(history, sent_at=NOW - timedelta(seconds=n // 3)))
        if chosen.state != states.PENDING:
            stored(app, before[-1], states.SUCCESS)
    found, after = [], None
    while True:
        page = history.page(chosen, after, 5)
        found += [task.id for task in page.tasks]
        if (after := page.next) is None:
            break
        new = sent(history, sent_at=NOW + timedelta(seconds=1))
        if chosen.state != states.PENDING:
            stored(app, new, states.SUCCESS)
    assert sorted(found) == sorted(before)
    with pytest.raises(ValueError, match='isoformat'):
        history.page(chosen, 'nothing that a page gave')


def test_a_task_is_found_by_its_message_or_its_result_alone(history: History, app: Celery) -> None:
    assert history.find('x') is None
    # Without a monitor, the list is that of the results.
    alone = uuid.uuid4().hex
    stored(app, alone, states.SUCCESS, 7, task='alone', retries=2)
    (listed_alone,) = history.page().tasks
    assert listed_alone == history.find(alone)
    assert (listed_alone.name, listed_alone.queue, listed_alone.state) == (
        'alone',
        'one',
        'SUCCESS',
    )
    assert (listed_alone.result, listed_alone.attempt, listed_alone.sent_at) == ('7', 3, None)
    for chosen in (Filter(name='alone'), Filter(states.SUCCESS, queue='one', since=NOW)):
        assert listed(history, chosen) == [alone]
    for chosen in (Filter(name='other'), Filter(until=NOW), Filter(states.FAILURE)):
        assert listed(history, chosen) == []

    parent = sent(history)
    children = [sent(history, parent_id=parent, sent_at=NOW + timedelta(n)) for n in (1, 3, 2)]
    save_again = {'parent_id': parent, 'root_id': parent, 'retries': 1}
    sent(history, parent, **save_again)  # a retry names itself
    assert [task.id for task in history.children(parent)] == [children[n] for n in (1, 2, 0)]
    waiting = history.find(parent)
    assert waiting
    assert (waiting.state, waiting.attempt, waiting.root_id) == ('PENDING', 2, parent)
    assert waiting.waited is waiting.ran is None


def test_texts_of_strangers_stay_texts_and_secrets_are_masked(
    history: History, app: Celery
) -> None:
    attempts = [
        {'data': {'attempt': 1, 'exception': 'OSError'}, 'timestamp': '2026-01-01T00:00:00+00:00'},
        {'data': {}},
        'no dict',
    ]
    hostile = sent(
        history, HOSTILE, name=HOSTILE, queue=HOSTILE, args="({'password': 'hunter2'},)",
        earlier_attempts=attempts,
    )  # fmt: skip
    secret = {'url': 'http://me:hunter2@host/', 'token': 'hunter2'}
    app.backend.store_result(hostile, ValueError(HOSTILE, secret['url']), states.FAILURE, HOSTILE)
    succeeded, undecodable, huge = sent(history), sent(history), sent(history)
    stored(app, succeeded, states.SUCCESS, secret)
    stored(app, undecodable, states.SUCCESS)
    stored(app, huge, states.SUCCESS, 'x' * 30_000)
    with history.engine.begin() as connection:
        connection.exec_driver_sql(
            'UPDATE celery_taskmeta SET result = '
            + {'sqlite': "X'ff7b'", 'postgresql': r"'\xff7b'::bytea"}[connection.dialect.name]
            + f" WHERE task_id = '{undecodable}'"
        )
    tasks = {task.id: task for task in history.page().tasks}
    assert 'hunter2' not in repr(tasks)
    assert tasks[succeeded].result == "{'url': 'http://me:***@host/', 'token': '***'}"
    assert tasks[undecodable].result.startswith('cannot be decoded: ')
    assert tasks[huge].result == '30,002 bytes'
    (by_name,) = history.page(Filter(name=HOSTILE, queue=HOSTILE)).tasks
    assert (by_name.id, by_name.traceback) == (HOSTILE, '')
    found = history.find(HOSTILE)
    assert found == replace(by_name, traceback=HOSTILE)
    assert [each.exception for each in found.earlier_attempts] == ['OSError']


def test_the_last_hour_counts_a_minute_that_is_over_once(
    history: History, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    this_minute = datetime.now(timezone.utc).replace(second=0, microsecond=0)

    def end(state: str, minutes: int) -> None:
        end = this_minute + timedelta(seconds=7) - timedelta(minutes=minutes)
        task_id = sent(history, sent_at=end - timedelta(seconds=5))
        stored(app, task_id, states.STARTED)
        stored(app, task_id, state)
        with history.engine.begin() as connection:
            times = [f"'{at:%Y-%m-%d %H:%M:%S.%f}'" for at in (end - timedelta(seconds=2), end)]
            connection.exec_driver_sql(
                'UPDATE celery_taskmeta SET started_at = {}, date_done = {} '.format(*times)
                + f"WHERE task_id = '{task_id}'"
            )

    statements: list[str] = []
    event.listen(
        history.engine, 'before_cursor_execute', lambda *given: statements.append(given[2])
    )
    for state, minutes in (
        (states.SUCCESS, 5), (states.SUCCESS, 5), (states.FAILURE, 5), (states.SUCCESS, 50),
        (states.REVOKED, 5), (states.SUCCESS, 61), (states.FAILURE, 30),
    ):  # fmt: skip
        end(state, minutes)
    found = history.last_hour()
    assert len(found) == 60
    assert found[0].start == found[-1].start - timedelta(minutes=59)
    known = {
        (this_minute - each.start).total_seconds() / 60: each
        for each in found
        if each.succeeded or each.failed
    }
    assert set(known) == {5, 30, 50}
    assert (known[5].succeeded, known[5].failed) == (2, 1)
    assert known[5].waited == pytest.approx(3)
    assert known[5].ran == pytest.approx(2)
    end(states.SUCCESS, 0)
    end(states.SUCCESS, 10)  # too late for its minute
    statements.clear()
    again = history.last_hour()
    assert sum(each.succeeded for each in again[-2:]) == 1
    assert sum(each.succeeded for each in again) == 4
    # One for each minute that is not over, and their sample.
    assert len(statements) <= 6

    monkeypatch.setattr(hour, 'COUNTED', 1)
    busy = History(app)
    counts = [sum(each.succeeded + each.failed for each in busy.last_hour()) for _ in range(9)]
    busy.engine.dispose()
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 7


def test_workers_are_those_with_running_tasks(history: History, app: Celery) -> None:
    for n, state in enumerate([*STORED, states.STARTED, states.STARTED]):
        task_id = sent(history)
        stored(app, task_id, states.STARTED, {'pid': n}, hostname=f'celery@{"ab"[n % 2]}')
        if state != states.STARTED:
            stored(app, task_id, state)
    found = history.workers()
    assert [(worker.name, worker.busy) for worker in found] == [('celery@a', 2), ('celery@b', 1)]
    assert all(worker.oldest_start and worker.oldest_start > NOW for worker in found)
    with history.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE celery_taskmeta SET started_at = '2026-01-01 00:00:00'")
    assert history.workers() == []  # nothing runs for so long


@pytest.mark.parametrize('app', ['postgresql'], indirect=True)
def test_every_page_goes_by_its_index(history: History) -> None:
    with history.engine.begin() as connection:
        for statement in (
            'INSERT INTO tasks (task_id, name, queue, retries, parent_id, sent_at, seen_at) '
            "SELECT 't' || n, 'name' || n % 50, 'queue' || n % 10, 0, 't' || n / 4, "
            "now() - n * interval '1 s', now() FROM generate_series(1, 30000) n",
            'INSERT INTO celery_taskmeta (id, task_id, status, name, queue, date_done, started_at) '
            "SELECT n, 't' || n, CASE n % 50 WHEN 0 THEN 'FAILURE' WHEN 1 THEN 'STARTED' "
            "WHEN 2 THEN 'RETRY' WHEN 3 THEN 'REVOKED' ELSE 'SUCCESS' END, 'name' || n % 50, "
            "'queue' || n % 10, CASE WHEN n % 50 NOT IN (1, 2) THEN now() - n * interval '1 s' "
            'END, now() FROM generate_series(1, 30000) n',
            'ANALYZE',
        ):
            connection.exec_driver_sql(statement.replace('%', '%%'))
    seen: list[tuple[str, Any]] = []
    event.listen(
        history.engine, 'before_cursor_execute', lambda *given: seen.append((given[2], given[3]))
    )

    def plans(read: Callable[[], Any]) -> str:
        seen.clear()
        read()
        (setting, _), *queries = seen
        with history.engine.connect() as connection:
            connection.exec_driver_sql(setting)
            return '\n'.join(
                line
                for statement, values in queries
                for (line,) in connection.exec_driver_sql(f'EXPLAIN {statement}', values)
            )

    day: dict[str, Any] = {'since': NOW - timedelta(hours=2), 'until': NOW - timedelta(hours=1)}
    filters: list[dict[str, Any]] = [{}, {'name': 'name7'}, {'queue': 'queue7'}, day]
    for state in ('', states.PENDING, *STORED):
        for given in filters:
            chosen = Filter(state, **given)
            index = f'ix_tasks_{next(iter(given))}_sent_at' if given else 'ix_tasks_sent_at'
            if given is day:
                index = 'ix_tasks_sent_at'
            elif state in (states.FAILURE, states.RETRY, states.REVOKED):
                index = 'ix_celery_taskmeta_rare_states'
            elif state == states.STARTED:
                index = 'ix_celery_taskmeta_date_done'
            elif state == states.SUCCESS and not given:
                index = 'celery_taskmeta_pkey'
            for after in (None, history.page(chosen).next):
                found = plans(lambda one=chosen, after=after: history.page(one, after))
                assert index in found, (chosen, found)
                assert 'Seq Scan' not in found, (chosen, found)
    reads: list[tuple[Callable[[], Any], str]] = [
        (lambda: history.children('t7'), 'ix_tasks_parent_id_sent_at'),
        (history.workers, 'ix_celery_taskmeta_date_done'),
        (history.last_hour, 'ix_celery_taskmeta_date_done'),
    ]
    for read, index in reads:
        found = plans(read)
        assert index in found
        assert 'Seq Scan' not in found


def test_what_lacks_tables_is_told_how_to_make_them(app: Celery) -> None:
    history = History(app)
    for read in (history.page, history.workers, history.last_hour, lambda: history.find('x')):
        with pytest.raises(SettingError, match='run `be-queue migrate`'):
            read()
    migrate(app)
    assert history.page().tasks == []
    history.engine.dispose()


def test_a_backend_that_is_no_database_is_named() -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(Config([], result_backend='redis://me:hunter2@127.0.0.1/0'))
    with pytest.raises(SettingError, match=r'redis://me:\*\*\*@127'):
        History(app).page()
