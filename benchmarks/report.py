"""Tables of a run: on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.contenders import CONTENDERS
from benchmarks.demands import OURS, Verdict, verdicts
from benchmarks.figures import FIGURES, Figure, Figures

__all__ = ['Report']

COLOURS = {'reached': 'green', 'missed': 'red', 'unmeasured': 'yellow'}


@dataclass(frozen=True)
class Report:
    """What a run has found.

    Arguments:
        about: when, where and what, in words.
        figures: by delay in milliseconds.
        left_out: why something is missing, by its name.
    """

    about: dict[str, Any]
    figures: dict[float, Figures]
    left_out: dict[str, str]

    @property
    def verdicts(self) -> list[Verdict]:
        """The demands, judged."""
        return verdicts(self.figures)

    def tables(self) -> list[Table]:
        """Return all tables for a terminal."""
        shown = []
        for title, header, rows in self._tables():
            table = Table(title=title, box=box.SIMPLE_HEAD, title_justify='left')
            table.add_column(header[0], no_wrap=True)
            for name in header[1:]:
                table.add_column(name, justify='right')
            for row in rows:
                table.add_row(*row[:-1], f'[{COLOURS.get(row[-1], "default")}]{row[-1]}[/]')
            shown.append(table)
        return shown

    def notes(self) -> list[str]:
        """Return what to know before reading the tables."""
        about = ', '.join(f'{name} {value}' for name, value in self.about.items())
        return [about, *(f'Left out: {name}: {why}.' for name, why in self.left_out.items())]

    def markdown(self) -> str:
        """Return all tables for a file."""
        parts = ['# Results of `make bench`', *self.notes(), '![All figures](latest.svg)']
        for title, header, rows in self._tables():
            lines = [header, ['---', *('--:' for _ in header[1:])], *rows]
            parts += [f'## {title}', '\n'.join(f'| {" | ".join(line)} |' for line in lines)]
        return '\n\n'.join(parts) + '\n'

    def _tables(self) -> Iterable[tuple[str, list[str], list[list[str]]]]:
        yield (
            'Demands',
            ['figure', 'RTT, ms', 'demanded', 'measured', 'outcome'],
            [
                [v.demand.label, f'{v.rtt:g}', v.bound_text, v.value_text, v.outcome]
                for v in self.verdicts
            ],
        )
        for rtt, figures in self.figures.items():
            if not figures:
                continue
            names = [name for name in CONTENDERS if name in figures]
            header = ['figure', *(CONTENDERS[name].label for name in names)]
            title = f'RTT {rtt:g} ms (in brackets: {CONTENDERS[OURS].label} divided by it)'
            yield title, header, _rows(figures, names)


def _rows(figures: Figures, names: Sequence[str]) -> list[list[str]]:
    rows = []
    for figure in FIGURES:
        values = {name: figures[name].get(figure.key) for name in names}
        if any(value is not None for value in values.values()):
            mine = values.get(OURS)
            cells = [_cell(figure, v, mine, name) for name, v in values.items()]
            rows.append([figure.label, *cells])
    return rows


def _cell(figure: Figure, value: float | None, mine: float | None, name: str) -> str:
    if value is None:
        return '-'
    text = figure.text(value)
    if name == OURS or not mine or not value:
        return text
    ratio = mine / value
    return f'{text} ({ratio:.{2 if ratio < 10 else 0}f}x)'
