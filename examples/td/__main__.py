"""Logs events from a process that is none of the worker's: a script, a cron job, a shell."""
# ruff: noqa: T201  (it prints for the person who started it)

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from app.config.configuration import load_config
from app.utils.fluent import td
from be_queue import BeQueueError

TABLE = 'page_views'
PAGES = ('/', '/cart', '/checkout')


def main() -> int:
    """Log the events, wait until they are sent, and return the exit status."""
    parser = argparse.ArgumentParser(prog='td', description='Log events for Treasure Data.')
    parser.add_argument('--count', type=int, default=3, metavar='N', help='how many (default: 3)')
    count = parser.parse_args().count
    logging.basicConfig(format='%(levelname)s %(message)s')
    try:
        config = load_config()
    except BeQueueError as error:
        print(error, file=sys.stderr)
        return 1
    if config.fluent_host is None:
        print('event logs are off: set FLUENT_HOST and TD_DATABASE', file=sys.stderr)
        return 1

    counted: Counter[str] = Counter()
    td.open(lambda outcome, events: counted.update({outcome: events}))
    for n in range(count):
        td.log(TABLE, {'page': PAGES[n % len(PAGES)], 'visit': n // len(PAGES)})
    # A process that just ends does this by itself. Here we want to know what came of it.
    td.close()

    sent = counted['sent']
    address = f'{config.fluent_host}:{config.fluent_port}'
    print(f'{sent} events of {count} sent to {config.td_database}.{TABLE} by {address}')
    return 0 if sent == count else 1


if __name__ == '__main__':
    sys.exit(main())
