"""The loss curve as a small SVG: the same bytes for the same points. Pure.

Drawn by hand rather than by matplotlib, whose output carries dates and depends on fonts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning.result import Point

_SMALLEST = 1e-300
"""Below it powers of ten lose their digits."""
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 30, 40
_TRAIN, _EVAL, _INK = "#2563eb", "#d97706", "#444"


def loss_curve(train: Sequence[Point], evaluation: Sequence[Point] = ()) -> str:
    """An SVG document of 640 × 300 units; an empty frame when there are no points."""
    points = [*train, *evaluation]
    last = max((p.step for p in points), default=1)
    top = _ceiling(max((p.loss for p in points), default=1.0))
    lines = [_line(train, last, top, _TRAIN), *_evaluation(evaluation, last, top)]
    body = [*_frame(last, top), *lines, *_legend(bool(evaluation))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _ceiling(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten: a round number for the axis."""
    if value < _SMALLEST:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value)


def _x(step: float, last: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last


def _y(loss: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(loss, top) / top


def _line(points: Sequence[Point], last: int, top: float, colour: str) -> str:
    path = " ".join(f"{_x(p.step, last):.1f},{_y(p.loss, top):.1f}" for p in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _evaluation(points: Sequence[Point], last: int, top: float) -> list[str]:
    dots = [
        f'<circle cx="{_x(p.step, last):.1f}" cy="{_y(p.loss, top):.1f}" r="3" fill="{_EVAL}"/>'
        for p in points
    ]
    return [_line(points, last, top, _EVAL), *dots] if points else []


def _frame(last: int, top: float) -> list[str]:
    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(top * share, top)
        lines.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{top * share:.4g}</text>'
        )
    for step in sorted({0, last // 2, last}):
        x = _x(step, last)
        lines.append(f'<text x="{x:.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{step}</text>')
    lines.append(f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">step</text>')
    return lines


def _legend(evaluation: bool) -> list[str]:
    lines = [f'<text x="{_LEFT}" y="18" fill="{_TRAIN}">training loss</text>']
    if evaluation:
        lines.append(f'<text x="{_LEFT + 100}" y="18" fill="{_EVAL}">evaluation loss</text>')
    return lines
