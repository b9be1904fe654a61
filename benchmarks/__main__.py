"""Compares this transport with stock Celery on SQS and on Redis: ``make bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.contenders import CONTENDERS, redis_missing
from benchmarks.figures import figures
from benchmarks.plan import MEASURES, Plan, run, steps
from benchmarks.report import Report
from benchmarks.servers import running_servers

RESULTS = Path(__file__).parent / 'results'
#: Round-trip delays in milliseconds: a server beside the worker, and one in its region.
RTTS = (0.0, 10.0)
ROUNDS = 2
#: Of the tasks and times of a full run.
QUICK = 0.4
#: Columns.
WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    # Into a file or a log the tables go unwrapped.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    chosen = _options(arguments)
    started = time.monotonic()
    plan, left_out = _plan(chosen)
    try:
        samples, failed = _measure(plan, console)
    except KeyboardInterrupt:
        Console(stderr=True).print('stopped')
        return 130
    report = Report(
        about=_about(plan, time.monotonic() - started),
        figures={rtt: figures(samples, rtt) for rtt in plan.rtts},
        left_out=left_out | failed,
    )
    for table in report.tables():
        console.print(table)
    for note in report.notes():
        console.print(note, highlight=False)
    _write(chosen.out, report, samples)
    console.print(f'written to {chosen.out}: latest.json, latest.md', highlight=False)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument(
        '--rtt', type=_delay, action='append', metavar='MS',
        help='round-trip delay to the server; more than one are measured in turn (default: 0, 10)',
    )  # fmt: skip
    parser.add_argument('--rounds', type=_positive, help=f'default: {ROUNDS}, with --quick 1')
    parser.add_argument('--quick', action='store_true', help='less of everything: a minute or two')
    parser.add_argument(
        '--part', type=_part, help=f'of all tasks and times (default: 1, with --quick {QUICK})'
    )
    parser.add_argument('--only', type=_names(MEASURES), default=MEASURES, metavar='A,B')
    parser.add_argument(
        '--contenders', type=_names(tuple(CONTENDERS)), default=tuple(CONTENDERS), metavar='A,B'
    )
    parser.add_argument('--out', type=Path, default=RESULTS, metavar='DIR')
    return parser.parse_args(arguments)


def _plan(chosen: argparse.Namespace) -> tuple[Plan, dict[str, str]]:
    """Return what to measure, and why something is not."""
    contenders, left_out = tuple(chosen.contenders), {}
    if any(CONTENDERS[name].broker == 'redis' for name in contenders) and (why := redis_missing()):
        contenders = tuple(name for name in contenders if CONTENDERS[name].broker != 'redis')
        left_out['Redis'] = why
    plan = Plan(
        rtts=tuple(dict.fromkeys(chosen.rtt or RTTS)),
        rounds=chosen.rounds or (1 if chosen.quick else ROUNDS),
        part=chosen.part or (QUICK if chosen.quick else 1.0),
        contenders=contenders,
        measures=tuple(chosen.only),
    )
    return plan, left_out


def _measure(plan: Plan, console: Console) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return all samples, and what has failed by the step's name."""
    todo = steps(plan)
    samples: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    columns = (
        *(BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()),
        TextColumn('{task.description}'),
    )
    # Redrawn seldom: the two cores belong to those who are measured.
    with (
        Progress(*columns, console=console, refresh_per_second=1, transient=True) as progress,
        running_servers(
            plan.rtts, redis=_on('redis', plan), postgres=_on('postgres', plan)
        ) as servers,
    ):
        bar = progress.add_task(str(todo[0]) if todo else '', total=len(todo))
        for number, (step, found) in enumerate(run(plan, todo, servers), 1):
            if isinstance(found, Exception):
                console.print(f'{step} failed: {found}', style='red', markup=False)
                failed[str(step)] = str(found).strip().rpartition('\n')[2]
            else:
                samples += found
            following = str(todo[number]) if number < len(todo) else ''
            progress.update(bar, advance=1, description=following)
            if not console.is_terminal:
                console.print(f'{number}/{len(todo)} {step}', highlight=False)
    return samples, failed


def _on(kind: str, plan: Plan) -> bool:
    """Return whether a contender needs this server."""
    chosen = [CONTENDERS[name] for name in plan.contenders]
    return any(kind in (contender.broker, contender.results) for contender in chosen)


def _about(plan: Plan, seconds: float) -> dict[str, Any]:
    return {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        'rounds': plan.rounds,
        'part': plan.part,
        'seconds': round(seconds),
        'cores': os.cpu_count(),
        'load at the end': round(os.getloadavg()[0], 1),
        'Python': platform.python_version(),
        **{name: version(name) for name in ('celery', 'kombu', 'ministack')},
    }


def _write(folder: Path, report: Report, samples: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        'about': report.about,
        'left_out': report.left_out,
        'demands': [
            {
                **asdict(verdict.demand),
                'rtt': verdict.rtt,
                'value': verdict.value,
                'outcome': verdict.outcome,
            }
            for verdict in report.verdicts
        ],
        'figures': {f'{rtt:g}': found for rtt, found in report.figures.items()},
        'samples': samples,
    }
    (folder / 'latest.json').write_text(json.dumps(content, indent=1) + '\n')
    (folder / 'latest.md').write_text(report.markdown())


def _delay(text: str) -> float:
    value = float(text)
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError(f'{text}: milliseconds, from 0 to below 10000')
    return value


def _part(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'{text}: above 0, at most 1')
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text}: 1 or more')
    return value


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(','))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f'{name!r}: one or more of {",".join(known)}')
        return names

    return parse


if __name__ == '__main__':
    sys.exit(main())
