"""Pictures as SVG of a few kilobytes that browsers and READMEs show: bars of ratios, and lines over a load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LEFT, ROW = 760, 250, 26
GOOD, BAD, UNTOLD = "#2f7d4f", "#b2452f", "#999999"


def bars(title: str, ratios: Sequence[tuple[str, float, str]]) -> str:
    """Return a bar for each (name, ratio, note) on a logarithmic scale; 1 is the line between paying and costing."""
    top = min(1000.0, max([10.0, *(ratio for _, ratio, _ in ratios)]))
    low = min([0.5, *(ratio for _, ratio, _ in ratios)])
    scale = (WIDTH - LEFT - 170) / math.log10(top / low)

    def x(ratio: float) -> float:
        """Return where a ratio lies; one beyond the scale ends with it."""
        return LEFT + scale * math.log10(min(ratio, top) / low)

    height = 50 + ROW * len(ratios)
    drawn = []
    for index, (name, ratio, note) in enumerate(ratios):
        y = 38 + ROW * index
        # A note says why nothing is concluded: such a bar is neither good nor bad.
        colour = UNTOLD if note else GOOD if ratio >= 1 else BAD
        start, width = min(x(1), x(ratio)), abs(x(ratio) - x(1))
        drawn += [
            text(LEFT - 8, y + 14, name, "end"),
            f'<rect x="{start:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{ROW - 8}" fill="{colour}"/>',
            text(max(x(ratio), x(1)) + 6, y + 14, f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f} {note}".strip()),  # noqa: PLR2004
        ]
    drawn.append(f'<path d="M{x(1):.1f} 32V{height - 8}" stroke="#333"/>')
    return picture(title, height, drawn)


COLOURS = ("#2f7d4f", "#c08a1e", "#b2452f")
HEIGHT, TOP, BOTTOM, SIDE = 360, 44, 48, 70
NEAR = 45
"""Labels nearer to each other than that could not be read."""


def lines(title: str, across: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a line for each named series, the lowest first, of (position, value) on a logarithmic scale in `unit`."""
    values = [value for points in series.values() for _, value in points]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    most = max(place for points in series.values() for place, _ in points)

    def x(place: float) -> float:
        """Return where a position lies."""
        return SIDE + (WIDTH - SIDE - 70) * place / most

    def y(value: float) -> float:
        """Return where a value lies."""
        return TOP + (HEIGHT - TOP - BOTTOM) * math.log(high / value) / math.log(high / low)

    drawn = []
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        drawn.append(f'<path d="M{SIDE} {y(10**power):.1f}H{WIDTH - 70}" stroke="#ddd"/>')
        drawn.append(text(SIDE - 8, y(10**power) + 4, f"{10.0**power:g} {unit}", "end"))
    last = -math.inf
    for place, _ in next(iter(series.values())):
        if x(place) - last >= NEAR:
            last = x(place)
            drawn.append(text(last, HEIGHT - BOTTOM + 18, f"{place / 1000:.3g}k", "middle"))
    drawn.append(text((SIDE + WIDTH) / 2, HEIGHT - 8, across, "middle"))
    taken = math.inf
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for place, value in points]
        # From the lowest line up: a name that would lie upon the one below it moves up.
        taken = min(y(points[-1][1]) + 4, taken - 14)
        drawn.append(text(x(points[-1][0]) + 8, taken, name, colour=colour))
    return picture(title, HEIGHT, drawn)


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#222") -> str:
    """Return words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def picture(title: str, height: int, drawn: Sequence[str]) -> str:
    """Return the SVG with its title and a white ground, readable on dark pages too."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
    ground = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([f'{head} font-size="13">', ground, text(10, 22, title), *drawn, "</svg>", ""])
