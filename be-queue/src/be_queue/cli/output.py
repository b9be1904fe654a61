"""Prints JSON and tables, and nothing that a terminal would take for a command."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

__all__ = ['add_row', 'console', 'print_json', 'printable', 'table_of']

# A pipe has no width to fit.
console = Console(width=None if sys.stdout.isatty() else 1000)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, default=str))


def table_of(*columns: str) -> Table:
    return Table(*(Column(name, overflow='fold') for name in columns), box=None)


def add_row(table: Table, *cells: Any) -> None:
    table.add_row(*(Text(printable(str(cell))) for cell in cells))


def printable(text: str) -> str:
    return ''.join(c if c.isprintable() or c == '\n' else '?' for c in text)
