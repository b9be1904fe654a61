"""What an expression of PromQL names: metrics, matchers and labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ['PREFIX', 'Selector', 'grouped', 'selectors']

#: In front of the metrics of a worker whose METRICS_PREFIX is the default.
PREFIX = 'python_backend_worker_template_'

_SELECTOR = re.compile(rf'\b{PREFIX}(\w+)\s*(?:\{{([^}}]*)\}})?')
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPED = re.compile(r'\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)')


@dataclass(frozen=True)
class Selector:
    """One metric of a worker in an expression.

    Arguments:
        metric: its name without the prefix.
        matchers: label and the values that are named, a regular expression's alternatives one by
            one.
    """

    metric: str
    matchers: tuple[tuple[str, tuple[str, ...]], ...]


def selectors(expression: str) -> list[Selector]:
    """Return every metric of a worker that an expression names, with its matchers."""
    found = []
    for metric, inside in _SELECTOR.findall(expression):
        matchers = [
            (label, tuple(value.split('|') if '~' in operator else [value]))
            for label, operator, value in _MATCHER.findall(inside or '')
        ]
        found.append(Selector(metric, tuple(matchers)))
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    lists = _GROUPED.findall(expression)
    return {label.strip() for labels in lists for label in labels.split(',') if label.strip()}
