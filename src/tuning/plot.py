"""A bar for each ratio on a logarithmic scale, as an SVG of a few kilobytes that browsers and READMEs show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, LEFT, ROW = 760, 220, 26


def bars(title: str, ratios: Sequence[tuple[str, float, str]]) -> str:
    """Return an SVG with one bar for each (name, ratio, note); 1 is the line between paying and costing."""
    top = max([10.0, *(ratio for _, ratio, _ in ratios)])
    low = min([0.5, *(ratio for _, ratio, _ in ratios)])
    scale = (WIDTH - LEFT - 150) / math.log10(top / low)

    def x(ratio: float) -> float:
        """Return where a ratio lies."""
        return LEFT + scale * math.log10(ratio / low)

    height = 50 + ROW * len(ratios)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    for index, (name, ratio, note) in enumerate(ratios):
        y = 38 + ROW * index
        # A note says why nothing is concluded: such a bar is neither good nor bad.
        colour = "#999999" if note else "#2f7d4f" if ratio >= 1 else "#b2452f"
        start, width = min(x(1), x(ratio)), abs(x(ratio) - x(1))
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{start:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<text x="{max(x(ratio), x(1)) + 6:.1f}" y="{y + 14}">{ratio:.1f} {escape(note)}</text>',
        ]
    lines.append(f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="32" y2="{height - 8}" stroke="#333"/>')
    return "\n".join([*lines, "</svg>", ""])
