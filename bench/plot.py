"""The plot: pasvport's ratio to HAProxy and to nginx for every case, on a logarithmic axis, as an SVG of our own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from bench.results import METRICS, OURS, Outcome

LEFT, WIDTH, LINE, TOP = 420, 420, 22, 54
RANGE = 3.0
"""Powers of two on either side of 1; what lies beyond is drawn at the edge with its number."""
SHOWN = ("per_second", "gb_per_second", "cpu_s_per_gb", "kb_per_idle", "ready_ms", "check_ms", "first_byte_p99_us")
COLOURS = {True: "#1a7f5a", False: "#b3452c"}
MARKS = {"haproxy": "circle", "haproxy+splice": "ring", "nginx": "square"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the plot: what, and the advantage over each peer (above 1 is better for every metric)."""

    label: str
    advantages: dict[str, float]


def lines(outcome: Outcome) -> list[Line]:
    """Every case and shown metric for which pasvport and another have a number."""
    found = []
    for row in outcome.rows:
        for metric in (key for key in SHOWN if key in row.metrics()):
            advantages = {}
            for peer in MARKS:
                ratio = row.ratio(OURS, metric, peer)
                if ratio and ratio > 0:
                    advantages[peer] = ratio if METRICS[metric].higher else 1 / ratio
            if advantages:
                found.append(Line(f"{row.measurement}: {row.name}, {METRICS[metric].title}", advantages))
    return found


def svg(outcome: Outcome) -> str:
    """The whole picture as text."""
    shown = lines(outcome)
    height = TOP + LINE * len(shown) + 30
    body = [_axis(height), _legend()]
    for number, line in enumerate(shown):
        body.append(_draw(line, TOP + LINE * number + LINE // 2))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 60}" height="{height}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _x(advantage: float) -> float:
    power = max(-RANGE, min(RANGE, math.log2(advantage)))
    return LEFT + WIDTH * (power + RANGE) / (2 * RANGE)


def _axis(height: int) -> str:
    parts = []
    for power in range(-int(RANGE), int(RANGE) + 1):
        x, label = _x(2.0**power), f"{2.0**power:g}x"
        colour = "#444444" if power == 0 else "#dddddd"
        parts.append(f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{height - 24}" stroke="{colour}"/>')
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle" fill="#444444">{label}</text>')
    return "\n".join(parts)


def _legend() -> str:
    text = "pasvport's advantage, to the right is better:"
    parts = [f'<text x="12" y="22" fill="#222222">{text}</text>']
    for number, peer in enumerate(MARKS):
        x = 290 + 150 * number
        parts.append(_mark(peer, x, 18, "#444444"))
        parts.append(f'<text x="{x + 10}" y="22" fill="#222222">over {escape(peer)}</text>')
    return "\n".join(parts)


def _draw(line: Line, y: int) -> str:
    parts = [f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end" fill="#222222">{escape(line.label)}</text>']
    for peer, advantage in line.advantages.items():
        title = f"<title>{escape(peer)}: {advantage:.2f}</title>"
        parts.append(_mark(peer, _x(advantage), y, COLOURS[advantage >= 1], title))
    return "\n".join(parts)


def _mark(peer: str, x: float, y: int, colour: str, title: str = "") -> str:
    if MARKS[peer] == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4}" width="8" height="8" fill="{colour}" opacity="0.6">{title}</rect>'
    fill = colour if MARKS[peer] == "circle" else "none"
    return f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2">{title}</circle>'
