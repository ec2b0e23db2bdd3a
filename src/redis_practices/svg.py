"""Draw SVG for browsers and READMEs: bars of ratios, lines over a load, and their elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape


def scale(
    low: float, high: float, start: float, end: float, by: Callable[[float], float] = float
) -> Callable[[float], float]:
    """Return the function from value to position: `low` at `start`, `high` at `end`; `by` may be ``math.log10``."""
    step = (end - start) / (by(high) - by(low) or 1)
    return lambda value: start + (by(value) - by(low)) * step


def rect(x: float, y: float, width: float, height: float, **style: float | str) -> str:
    """Return a rectangle, from its upper left corner."""
    return f"<rect{_attributes(x=x, y=y, width=width, height=height, **style)}/>"


def circle(x: float, y: float, radius: float, **style: float | str) -> str:
    """Return a circle around a point."""
    return f"<circle{_attributes(cx=x, cy=y, r=radius, **style)}/>"


def path(*points: tuple[float, float], **style: float | str) -> str:
    """Return a line through points."""
    return f"<path{_attributes(d='M' + ' '.join(f'{_text(x)} {_text(y)}' for x, y in points), **style)}/>"


def label(x: float, y: float, words: str, **style: float | str) -> str:
    """Return a text at a position."""
    return f"<text{_attributes(x=x, y=y, **style)}>{escape(words)}</text>"


def picture(width: float, height: float, said: str, drawn: Iterable[str], /, **style: float | str) -> str:
    """Return an SVG element for a page; a screen reader reads `said`."""
    box = f"0 0 {_text(width)} {_text(height)}"
    return f"<svg{_attributes(viewBox=box, role='img', aria_label=said, **style)}>{''.join(drawn)}</svg>"


def document(width: float, height: float, title: str, drawn: Iterable[str], /, **style: float | str) -> str:
    """Return an SVG document for a file."""
    lines = [f"\n{line}" for line in (f"<title>{escape(title)}</title>", *drawn, "")]
    return picture(width, height, title, lines, xmlns="http://www.w3.org/2000/svg", **style) + "\n"


def _attributes(**given: float | str) -> str:
    """Return the attributes of an element: ``class_`` is class, ``stroke_width`` is stroke-width."""
    return "".join(f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"' for name, value in given.items())


def _text(value: float | str) -> str:
    """Return the text of an attribute's value; a number gets at most one decimal."""
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


WIDTH, LEFT, ROW = 760, 250, 26
GOOD, BAD, UNTOLD = "#2f7d4f", "#b2452f", "#999999"


def bars(title: str, ratios: Sequence[tuple[str, float, str]]) -> str:
    """Return a bar for each (name, ratio, note) on a logarithmic scale; above 1 the tuned way pays."""
    top = min(1000.0, max([10.0, *(ratio for _, ratio, _ in ratios)]))
    x = scale(min([0.5, *(ratio for _, ratio, _ in ratios)]), top, LEFT, WIDTH - 170, math.log10)
    height = 50 + ROW * len(ratios)
    drawn = []
    for index, (name, ratio, note) in enumerate(ratios):
        y = 38 + ROW * index
        # A bar with a note is neutral: the note says why there is no conclusion.
        colour = UNTOLD if note else GOOD if ratio >= 1 else BAD
        # A ratio beyond the scale is drawn to its end.
        start, end = sorted((x(1), x(min(ratio, top))))
        seen = f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f} {note}".strip()  # noqa: PLR2004 - no decimals
        drawn += [
            label(LEFT - 8, y + 14, name, text_anchor="end"),
            rect(start, y, max(end - start, 1), ROW - 8, fill=colour),
            label(end + 6, y + 14, seen),
        ]
    drawn.append(path((x(1), 32), (x(1), height - 8), stroke="#333"))
    return _plot(title, height, drawn)


COLOURS = ("#2f7d4f", "#c08a1e", "#b2452f")
HEIGHT, TOP, BOTTOM, SIDE = 360, 44, 48, 70
NEAR = 45
"""Labels nearer to each other than this would overlap."""


def lines(title: str, across: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a line for each named series of (position, value), lowest first, on a logarithmic scale in `unit`."""
    values = [value for points in series.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    x = scale(0, max(place for points in series.values() for place, _ in points), SIDE, WIDTH - 70)
    y = scale(10**low, 10**high, HEIGHT - BOTTOM, TOP, math.log10)
    drawn = []
    for mark in (10.0**power for power in range(low, high + 1)):
        drawn.append(path((SIDE, y(mark)), (WIDTH - 70, y(mark)), stroke="#ddd"))
        drawn.append(label(SIDE - 8, y(mark) + 4, f"{mark:g} {unit}", text_anchor="end"))
    last = -math.inf
    for place, _ in next(iter(series.values())):
        if x(place) - last >= NEAR:
            last = x(place)
            drawn.append(label(last, HEIGHT - BOTTOM + 18, f"{place / 1000:.3g}k", text_anchor="middle"))
    drawn.append(label((SIDE + WIDTH) / 2, HEIGHT - 8, across, text_anchor="middle"))
    taken = math.inf
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        places = [(x(place), y(value)) for place, value in points]
        drawn.append(path(*places, fill="none", stroke=colour, stroke_width=2))
        drawn += [circle(*place, 3, fill=colour) for place in places]
        # From the lowest line up: a label that would overlap the one below it moves up.
        taken = min(places[-1][1] + 4, taken - 14)
        drawn.append(label(places[-1][0] + 8, taken, name, fill=colour))
    return _plot(title, HEIGHT, drawn)


def _plot(title: str, height: int, drawn: Sequence[str]) -> str:
    """Return the document with its title and a white background, readable on dark pages too."""
    ground = [rect(0, 0, WIDTH, height, fill="#fff"), label(10, 22, title)]
    return document(WIDTH, height, title, [*ground, *drawn], font_family="sans-serif", font_size=13, fill="#222")
