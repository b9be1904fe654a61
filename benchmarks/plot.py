"""The figures of a run as bars, in an SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.contenders import CONTENDERS
from benchmarks.figures import FIGURES, Figure, Figures

__all__ = ['svg']

#: Drawn, by key.
SHOWN = ('consume', 'publish', 'batch', 'requests', 'cpu', 'p50', 'p99', 'memory')
COLOURS = {'ours': '#1f6feb', 'default': '#9aa4b2', 'tuned': '#5d6b7e', 'redis': '#c2410c'}
#: In pixels.
PANEL, BAR, GAP, LABELS, VALUES, MARGIN = 460, 18, 6, 110, 70, 20
TITLE = 28


def svg(found: dict[float, Figures]) -> str:
    """Return the picture: a row of panels for each figure, a column for each delay."""
    body: list[str] = []
    top = MARGIN
    for figure in (figure for figure in FIGURES if figure.key in SHOWN):
        panels = {rtt: _values(figures, figure.key) for rtt, figures in found.items()}
        bars = max((len(values) for values in panels.values()), default=0)
        if not bars:
            continue
        for column, (rtt, values) in enumerate(panels.items()):
            left = MARGIN + column * (PANEL + MARGIN)
            title = f'{figure.label}, RTT {rtt:g} ms'
            body.append(_text(left, top + BAR - 4, title, 'font-weight="bold"'))
            body += _bars(values, figure, left, top + TITLE)
        top += TITLE + bars * (BAR + GAP) + MARGIN
    width = MARGIN + len(found) * (PANEL + MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}" font-family="sans-serif" font-size="12" fill="#1f2328">'
    )
    return '\n'.join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, '</svg>\n'])


def _values(figures: Figures, key: str) -> list[tuple[str, float]]:
    return [(name, figures[name][key]) for name in CONTENDERS if key in figures.get(name, {})]


def _bars(values: Sequence[tuple[str, float]], figure: Figure, left: int, top: int) -> list[str]:
    longest = max((value for _, value in values), default=0) or 1
    drawn = []
    for row, (name, value) in enumerate(values):
        y = top + row * (BAR + GAP)
        width = max(1.0, (PANEL - LABELS - VALUES) * value / longest)
        drawn += [
            _text(left, y + BAR - 5, CONTENDERS[name].label),
            f'<rect x="{left + LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" '
            f'fill="{COLOURS[name]}"/>',
            _text(left + LABELS + width + 5, y + BAR - 5, figure.text(value)),
        ]
    return drawn


def _text(x: float, y: float, text: str, more: str = '') -> str:
    return f'<text x="{x:.1f}" y="{y}" {more}>{escape(text.strip())}</text>'
