"""The metrics of docs/metrics.md, which is made from the code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Documented', 'documented']

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'metrics.md'
_ROW = re.compile(r'^\| `\{prefix\}_(\w+)` \| (\w+) \| (.*?) \| (.*) \|$', re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """A series that a scrape may show, as the page has it.

    Arguments:
        labels: their names.
        what: the help, which lists the values of labels that are few.
    """

    labels: frozenset[str]
    what: str

    def has(self, value: str) -> bool:
        """Return whether a label's value is listed."""
        return bool(re.search(rf'\b{re.escape(value)}\b', self.what))


def documented() -> dict[str, Documented]:
    """Return every name without the prefix; histograms are there by their three series."""
    found = {}
    for name, kind, labels, what in _ROW.findall(PAGE.read_text()):
        own = frozenset(re.findall(r'`(\w+)`', labels))
        if kind == 'histogram':
            found[f'{name}_bucket'] = Documented(own | {'le'}, what)
            found[f'{name}_sum'] = found[f'{name}_count'] = Documented(own, what)
        else:
            found[name] = Documented(own, what)
    return found
