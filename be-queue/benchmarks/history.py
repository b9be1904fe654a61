"""How long the history's pages take over millions of tasks: ``make bench ARGS=history``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

from celery import Celery, states
from sqlalchemy import Connection, Engine, event

from be_queue import Config
from be_queue.testing.postgres import PostgresServer, running_postgres
from be_queue.worker.history import Filter, History, engine_of, migrate
from be_queue.worker.history.queries import BY_INDEX

__all__ = ['run']

#: Times that each page is asked, each time of another name, queue, day or task.
ROUNDS = 7
#: Tasks of each turn of `_writes`, and turns.
TURN_TASKS, TURNS = 200, 100
DAY = timedelta(days=1)
NOISE = '(hashint4(n) & 1048575)'
ID = "md5('task' || n)::uuid::text"
#: A week of tasks, the last one sent now.
SENT = "now() - interval '7 days' * ({count} - n)::float8 / {count}"
TASKS = f"""
INSERT INTO tasks
  (task_id, name, queue, args, kwargs, retries, parent_id, root_id, origin, sent_at, seen_at)
SELECT {ID}, 'app.tasks.task_' || {NOISE} % 100, 'production-queue-' || {NOISE} % 20,
  rpad('(' || n || ', ', 99, 'x') || ')', '{{}}', 0,
  CASE WHEN n % 20 < 4 THEN md5('task' || n - n % 20 - 1)::uuid::text END, {ID},
  '4711@producer', {SENT}, {SENT} + interval '1 s'
FROM generate_series(1, {{count}}) n"""
#: The last 2,000 tasks wait, 300 before them run, and so do some that were killed.
RESULTS = f"""
INSERT INTO celery_taskmeta (id, task_id, status, result, date_done, traceback, name, args, kwargs,
  worker, retries, queue, started_at)
SELECT nextval('task_id_sequence'), {ID}, status, convert_to('{{"sum": 42}}', 'UTF8'),
  CASE WHEN status NOT IN ('STARTED', 'RETRY') THEN started + noise % 50 / 10 * interval '1 s' END,
  CASE WHEN status = 'FAILURE' THEN repeat(E'  File "app/tasks.py", line 7, in add\\n', 20) END,
  'app.tasks.task_' || noise % 100, '\\x5b5d', '\\x7b7d', 'celery@worker-' || noise % 40, 0,
  'production-queue-' || noise % 20, started
FROM (
  SELECT n, {NOISE} noise, ({SENT}) AT TIME ZONE 'UTC' + {NOISE} % 70 / 10 * interval '1 s' started,
    CASE WHEN n > {{count}} - 2300 THEN 'STARTED' WHEN kind < 200 THEN 'FAILURE'
      WHEN kind < 215 THEN 'REVOKED' WHEN kind < 221 THEN 'RETRY' WHEN kind = 221 AND n % 64 = 0
      THEN 'STARTED' ELSE 'SUCCESS' END status
  FROM (SELECT n, abs(hashint4(n) / 7) % 10000 kind FROM generate_series(1, {{count}} - 2000) n) t
  ORDER BY n) t
WHERE noise % 300 <> 7"""


def run(out: Path, count: int) -> int:
    """Fill a database with ``count`` tasks; write the times and the plans to ``history.md``."""
    with running_postgres() as postgres:
        app = _app(postgres.direct_backend_url)
        migrate(app)
        history = History(app)
        filled = _fill(app, history.engine, count)
        print(f'{count:,} tasks written in {filled:.0f} s', flush=True)  # noqa: T201
        lines, plans = _reads(history)
        lines += ['', *_writes(postgres)]
    about = f'{count:,} tasks, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}'
    text = '\n'.join([f'# The history of tasks\n\n{about}\n', *lines, '\n## Plans\n', *plans, ''])
    out.mkdir(parents=True, exist_ok=True)
    (out / 'history.md').write_text(text)
    print('\n'.join(lines), f'Written to {out}: history.md', sep='\n')  # noqa: T201
    return 0


def _fill(app: Celery, engine: Engine, count: int) -> float:
    started = time.monotonic()
    with _autocommit(engine) as connection:
        for name in ('name', 'queue', 'parent_id'):
            connection.exec_driver_sql(f'DROP INDEX ix_tasks_{name}_sent_at')
        for statement in (TASKS, RESULTS):
            connection.exec_driver_sql(statement.replace('{count}', str(count)).replace('%', '%%'))
        # The indexes are made again, which is faster than to keep them meanwhile.
        connection.exec_driver_sql("UPDATE be_queue_version SET version_num = '0001'")
        migrate(app)
        connection.exec_driver_sql('VACUUM ANALYZE')
    return time.monotonic() - started


def _filters(n: int) -> dict[str, Filter]:
    name, queue = f'app.tasks.task_{10 + n}', f'production-queue-{10 + n}'
    until = datetime.now(timezone.utc) - n * DAY / 2
    found = {
        'all': Filter(),
        'name': Filter(name=name),
        'queue': Filter(queue=queue),
        'name, queue': Filter(name=name, queue=queue),
        'name, queue: none': Filter(name=name, queue='production-queue-0'),
        'time': Filter(since=until - DAY, until=until),
    }
    stored = (states.STARTED, states.RETRY, states.SUCCESS, states.FAILURE, states.REVOKED)
    for state in (states.PENDING, *stored):
        found |= {
            state: Filter(state),
            f'{state}, name': Filter(state, name),
            f'{state}, queue': Filter(state, queue=queue),
            f'{state}, time': Filter(state, since=until - DAY, until=until),
        }
    return found


def _reads(history: History) -> tuple[list[str], list[str]]:
    """Return the table of times, and the plans."""
    lines = ['| page | median ms | worst ms | tasks |', '|---|---|---|---|']
    plans = []

    def ask(label: str, calls: list[Callable[[], Any]]) -> Any:
        with _statements(history.engine) as seen:
            seconds, found = [], []
            for call in calls:
                seen.clear()
                started = time.perf_counter()
                found.append(call())
                seconds.append(time.perf_counter() - started)
        size = max(len(getattr(one, 'tasks', one)) for one in found)
        lines.append(
            f'| {label} | {median(seconds) * 1e3:.1f} | {max(seconds) * 1e3:.1f} | {size} |'
        )
        plans.append(f'### {label}\n\n```\n{_plans(history.engine, seen)}\n```\n')
        return found

    def page(one: Filter, after: str | None = None) -> Callable[[], Any]:
        return lambda: history.page(one, after)

    for label in _filters(0):
        filters = [_filters(n)[label] for n in range(ROUNDS)]
        found = ask(label, [page(one) for one in filters])
        deep = []
        for one, first in zip(filters, found, strict=True):
            if first.next and first.next.isdigit():
                deep.append(page(one, str(int(first.next) // 10)))
            elif first.next:
                since = one.since or datetime.now(timezone.utc) - 6 * DAY
                deep.append(page(one, f'{(since + DAY / 10).isoformat()} '))
        if deep:
            ask(f'{label}: deep', deep)
    some = [history.page(Filter(until=datetime.now(timezone.utc) - n * DAY / 2)) for n in range(7)]
    parents = [next(each for each in page.tasks if each.parent_id) for page in some]
    ask('one task', [lambda one=one: [history.find(one.id)] for one in parents])
    ask('children', [lambda one=one: history.children(one.parent_id) for one in parents])
    ask('workers', [history.workers] * ROUNDS)
    ask('last hour, first call', [history.last_hour])
    ask('last hour, every 3 s', [history.last_hour] * ROUNDS)
    return lines, plans


def _writes(postgres: PostgresServer) -> list[str]:
    """Return the cost of the index of states: turns with it and without, side by side."""
    apps = []
    for name in ('with_index', 'without'):
        with postgres.connect() as connection:
            connection.execute(f'CREATE DATABASE {name}')
        app = _app(postgres.direct_backend_url.replace(f'/{postgres.name}?', f'/{name}?'))
        migrate(app)
        apps.append(app)
    with engine_of(apps[1]).begin() as connection:
        connection.exec_driver_sql('DROP INDEX ix_celery_taskmeta_rare_states')
    rates: list[list[float]] = [[], []]
    for turn in range(TURNS):
        for n in (0, 1) if turn % 2 else (1, 0):
            rates[n].append(_rate(apps[n], f'turn-{turn}'))
    ratios = [with_ / without for with_, without in zip(*rates, strict=True)]
    return [
        f'Writing the start and the success of a task: {median(rates[0]):.0f} a second with the '
        f'index of states, {median(rates[1]):.0f} without it. The ratio of two turns is '
        f'{median(ratios):.3f} in the median of {TURNS}.'
    ]


def _rate(app: Celery, prefix: str) -> float:
    started = time.perf_counter()
    for n in range(TURN_TASKS):
        for state, result in ((states.STARTED, {'pid': 4711}), (states.SUCCESS, 42)):
            app.backend.store_result(f'{prefix}-{n}', result, state)
    return TURN_TASKS / (time.perf_counter() - started)


def _app(url: str) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(Config([], result_backend=url))
    app.backend.session_manager.forked = True  # keeps its connection, as processes of a pool do
    return app


@contextmanager
def _autocommit(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level='AUTOCOMMIT')


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, 'before_cursor_execute', note)
    try:
        yield seen
    finally:
        event.remove(engine, 'before_cursor_execute', note)


def _plans(engine: Engine, statements: list[tuple[str, Any]]) -> str:
    explain = 'EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF) '
    with engine.connect() as connection:
        connection.exec_driver_sql(BY_INDEX)
        return '\n\n'.join(
            '\n'.join(line for (line,) in connection.exec_driver_sql(explain + statement, values))
            for statement, values in statements[:4]
            if statement != BY_INDEX
        )
