"""Compares this transport with stock Celery, or measures another part: ``make bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import fleet, history, monitor
from benchmarks.contenders import CONTENDERS, ENV, BenchmarkError, redis_missing
from benchmarks.measures import MEASURES, Step, steps, take
from benchmarks.report import demands, figures, markdown, readme, with_table
from benchmarks.servers import Brokers, running_servers
from benchmarks.site import Site

RESULTS = Path(__file__).parent / 'results'
#: The template's, with a table of the results.
README = Path(__file__).parents[2] / 'README.md'
#: Round-trip delays in milliseconds: a server beside the worker, and one in its region.
RTTS = (0.0, 10.0)
#: The part of the tasks and times of a full run.
QUICK = 0.4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    chosen = _options(arguments)
    if chosen.what == 'history':
        return history.run(chosen.out, chosen.rows)
    if chosen.what == 'fleet':
        return fleet.run(chosen.out)
    if chosen.what == 'monitor':
        return monitor.run(chosen.out, chosen.rounds or 3)
    started = time.monotonic()
    rtts = tuple(dict.fromkeys(chosen.rtt or RTTS))
    rounds = chosen.rounds or (1 if chosen.quick else 2)
    part = chosen.part or (QUICK if chosen.quick else 1.0)
    contenders = [CONTENDERS[name] for name in chosen.contenders]
    left_out = {}
    if any(one.broker == 'redis' for one in contenders) and (why := redis_missing()):
        left_out['Redis'] = why
        contenders = [one for one in contenders if one.broker != 'redis']
    todo = steps(rtts, rounds, contenders, chosen.only)
    kinds = {kind for one in contenders for kind in (one.broker, one.results)}
    samples: list[dict[str, Any]] = []
    with running_servers(kinds, rtts) as (brokers, results):
        for number, step in enumerate(todo, 1):
            print(f'{number}/{len(todo)} {step}', flush=True)  # noqa: T201
            try:
                samples += _samples(step, part, brokers, results)
            except (BenchmarkError, AssertionError) as error:
                print(f'{step} failed: {error}')  # noqa: T201
                left_out[str(step)] = str(error).strip().rpartition('\n')[2]
    about = {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        'rounds': rounds,
        'part': part,
        'seconds': round(time.monotonic() - started),
        'cores': os.cpu_count(),
        'load at the end': round(os.getloadavg()[0], 1),
        'Python': platform.python_version(),
        **{name: version(name) for name in ('celery', 'kombu', 'ministack')},
    }
    found = {rtt: figures(samples, rtt) for rtt in rtts}
    text = markdown(about, found, left_out)
    content = {
        'about': about,
        'left_out': left_out,
        'demands': demands(found),
        'figures': {f'{rtt:g}': of_rtt for rtt, of_rtt in found.items()},
        'samples': samples,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / 'latest.json').write_text(json.dumps(content, indent=1) + '\n')
    (chosen.out / 'latest.md').write_text(text)
    if chosen.out == RESULTS:
        README.write_text(with_table(README.read_text(), readme(found)))
    print(text, f'Written to {chosen.out}: latest.json, latest.md', sep='\n')  # noqa: T201
    return 1 if left_out.keys() - {'Redis'} else 0


def _samples(
    step: Step, part: float, brokers: Brokers, results: dict[str, str]
) -> list[dict[str, Any]]:
    broker = brokers[step.contender.broker, step.rtt]
    broker.clear()
    prefix = f'{ENV}-{step.contender.name}-{step.rtt:g}-{step.round}-{step.measure}'
    count = 10 if step.measure == 'ten-queues' else 1
    queues = tuple(f'{prefix}-{n}'.replace('.', '_') for n in range(count))
    with tempfile.TemporaryDirectory() as folder:
        site = Site(
            step.contender, broker.url, queues, Path(folder), results[step.contender.results]
        )
        found = take(step, site, broker, part)
    return [
        {'rtt': step.rtt, 'round': step.round, 'contender': step.contender.name} | sample
        for sample in found
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument(
        'what', nargs='?', choices=('transport', 'history', 'monitor', 'fleet'),
        default='transport',
        help='history: its pages, over --rows tasks in PostgreSQL; monitor: the rows that it '
        'writes, in --rounds; fleet: workers on one rate limit, simulated; of the other options '
        'only --out',
    )  # fmt: skip
    parser.add_argument('--rows', type=int, default=5_000_000)
    parser.add_argument(
        '--rtt', type=float, action='append', metavar='MS',
        help='round-trip delay to the server; more than one are measured in turn (default: 0, 10)',
    )  # fmt: skip
    parser.add_argument('--rounds', type=int, help='default: 2, with --quick 1')
    parser.add_argument('--quick', action='store_true', help='less of everything: a minute or two')
    parser.add_argument(
        '--part', type=float, help=f'of all tasks and times (default: 1, with --quick {QUICK})'
    )
    parser.add_argument('--only', type=_names(MEASURES), default=MEASURES, metavar='A,B')
    parser.add_argument(
        '--contenders', type=_names(CONTENDERS), default=tuple(CONTENDERS), metavar='A,B'
    )
    parser.add_argument('--out', type=Path, default=RESULTS, metavar='DIR')
    return parser.parse_args(arguments)


def _names(known: Any) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(','))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f'{name!r}: one or more of {",".join(known)}')
        return names

    return parse


if __name__ == '__main__':
    sys.exit(main())
