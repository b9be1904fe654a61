"""The supervisor with children of its own: how they stop and fall, and who is left behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from be_queue.testing.processes import alive, children
from be_queue.testing.waiting import wait_until
from tests.support.process import Program, running
from tests.support.tree import zombies

PROGRAM = """
import json, logging, os, signal, sys, threading, time
from be_queue.worker.supervisor import Child, Supervisor

def child(name, script, **options):
    return Child(name, ['sh', '-c', f'cd $FOLDER; touch {name}; {script}'], **options)

logging.basicConfig(format='%(message)s', level='INFO')
with Supervisor() as supervisor:
    for group in json.loads(sys.argv[1]):
        supervisor.start(*[child(name, **options) for name, options in group.items()])
    BEFORE
    sys.exit(supervisor.run())
"""
RUNS = 'while :; do sleep 0.05; done'

Group = dict[str, dict[str, Any]]


@contextmanager
def supervisor(folder: Path, *groups: Group, before: str = 'pass') -> Iterator[Program]:
    """Run a supervisor of these groups of children, by name; wait until all have started."""
    arguments = ['-c', PROGRAM.replace('BEFORE', before), json.dumps(groups)]
    with running(arguments, {'FOLDER': str(folder)}, folder / 'log') as program:
        names = [name for group in groups for name in group]
        wait_until(lambda: all((folder / name).exists() for name in names), 'the children run')
        yield program


def test_groups_stop_one_after_the_other_and_the_children_of_one_side_by_side(
    tmp_path: Path,
) -> None:
    def after(own: str, other: str) -> dict[str, Any]:
        wait = f'until [ -e {other}.asked ]; do sleep 0.05; done'
        return {
            'script': f"trap 'touch {own}.asked; {wait}; touch {own}.ended; exit 0' TERM; {RUNS}",
            'grace': None,
        }

    in_order = '[ -e web.ended ] && [ -e monitor.ended ] && touch in-order; exit 0'
    broker = {'script': f"trap '{in_order}' TERM; touch trap-is-set; {RUNS}", 'grace': None}
    group = {'web': after('web', 'monitor'), 'monitor': after('monitor', 'web')}
    with supervisor(tmp_path, {'broker': broker}, group, {'worker': {'script': RUNS}}) as program:
        wait_until((tmp_path / 'trap-is-set').exists, 'the broker is ready')
        assert program.ends(signal.SIGTERM, timeout=60) == 0
    assert (tmp_path / 'in-order').exists()


@pytest.mark.parametrize(
    ('end', 'said'),
    [
        ('exit 3', 'worker exited with status 3: stopping the rest'),
        ('kill -KILL $$', 'worker was killed by SIGKILL: stopping the rest; unless somebody'),
    ],
)
def test_a_child_that_ends_takes_the_rest_down(tmp_path: Path, end: str, said: str) -> None:
    until = f'until [ -e may-end ]; do sleep 0.05; done; {end}'
    with supervisor(tmp_path, {'web': {'script': RUNS}}, {'worker': {'script': until}}) as program:
        pids = children(program.process.pid)
        (tmp_path / 'may-end').touch()
        assert program.ends(timeout=60) == 1
        assert said in program.log
        wait_until(lambda: not any(map(alive, pids)), 'they are gone')


@pytest.mark.parametrize(
    ('ignored', 'options', 'signals', 'said'),
    [
        ('TERM', {'grace': 0.2}, 1, 'did not end in time: killing it'),
        ('TERM', {'grace': None}, 2, 'SIGINT again: stopping at once'),
        ('TERM QUIT', {'grace': None, 'haste': 0.2}, 2, 'did not end in time: killing it'),
    ],
)
def test_a_child_that_does_not_obey_ends_all_the_same(
    tmp_path: Path, ignored: str, options: dict[str, Any], signals: int, said: str
) -> None:
    script = f"trap '' {ignored}; touch ignores; {RUNS}"
    with supervisor(tmp_path, {'child': {'script': script, **options}}) as program:
        wait_until((tmp_path / 'ignores').exists, 'it ignores the signal')
        for _ in range(signals):
            program.process.send_signal(signal.SIGINT)
            wait_until(lambda: 'SIGINT: stopping' in program.log, 'the first one is taken')
        assert program.ends(timeout=60) == 0
        assert said in program.log


def test_orphans_are_reaped(tmp_path: Path) -> None:
    script = '(sh -c "touch orphan; until [ -e may-end ]; do sleep 0.05; done" &); exec sleep 60'
    with supervisor(tmp_path, {'child': {'script': script}}) as program:
        pid = program.process.pid
        wait_until(lambda: len(children(pid)) == 2, 'the orphan is adopted')
        (tmp_path / 'may-end').touch()
        wait_until(lambda: len(children(pid)) == 1, 'the orphan has ended')
        wait_until(lambda: not zombies(pid), 'somebody has waited for it')


@pytest.mark.parametrize('kill', ['', 'os.kill(os.getpid(), signal.SIGINT)'])
def test_a_signal_ends_what_waits_and_one_from_before_lets_nothing_wait(
    tmp_path: Path, kill: str
) -> None:
    waits = f"""
    while not os.path.exists(os.environ['FOLDER'] + '/go'): time.sleep(0.05)
    {kill}
    with supervisor.interruptible():
        print('waits', flush=True)
        threading.Event().wait()
"""
    with supervisor(tmp_path, {'child': {'script': RUNS}}, before=waits.strip()) as program:
        pids = children(program.process.pid)
        (tmp_path / 'go').touch()
        if not kill:
            wait_until(lambda: 'waits' in program.log, 'it waits')
            program.process.send_signal(signal.SIGINT)
        assert program.ends(timeout=60) == 0
        assert ('waits' in program.log) == (not kill)
        assert 'SIGINT: stopping' in program.log
        wait_until(lambda: not any(map(alive, pids)), 'the child is gone')
