"""Just enough SVG for the demonstration's two charts: a frame, lines, areas, bands.

A chart library would weigh more than the device wheel may.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeml.demo.page import drawing

_LEFT: Final = 46
_RIGHT: Final = 14
_TOP: Final = 16
_BOTTOM: Final = 32

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart's size in pixels and the ranges of its axes, both from zero."""

    width: int
    height: int
    x_max: float
    y_max: float
    y_label: str = ""
    x_unit: str = "s"

    def x(self, value: float) -> float:
        """The pixel column of a value."""
        return _LEFT + value / self.x_max * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """The pixel row of a value."""
        return self.height - _BOTTOM - value / self.y_max * (self.height - _TOP - _BOTTOM)

    def svg(self, parts: Sequence[str]) -> str:
        """The drawing, its parts in order."""
        return drawing(self.width, self.height, parts)

    def axes(self) -> str:
        """Both axes with round ticks."""
        down = [
            f'<text x="{self.x(value):.1f}" y="{self.height - 8}" text-anchor="middle">'
            f"{value:g} {self.x_unit}</text>"
            for value in ticks(self.x_max)
        ]
        across = [
            f'<text x="{_LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:g}'
            f"</text>{self._rule(value)}"
            for value in ticks(self.y_max)
        ]
        return "".join([*down, *across, f'<text x="{_LEFT}" y="11">{self.y_label}</text>'])

    def _rule(self, value: float) -> str:
        row = f"{self.y(value):.1f}"
        ends = f'x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{row}" y2="{row}"'
        return f'<line {ends} stroke="var(--line)" stroke-width="{1 if value == 0 else 0.6}"/>'

    def under_axis(self, from_x: float, to_x: float, colour: str) -> str:
        """A bar just below the horizontal axis."""
        width = max(self.x(to_x) - self.x(from_x), 1.0)
        return (
            f'<rect x="{self.x(from_x):.1f}" y="{self.y(0) + 2:.1f}" width="{width:.1f}" '
            f'height="4" rx="2" fill="{colour}"/>'
        )


def ticks(maximum: float, about: int = 5) -> list[float]:
    """Round values from zero to the maximum, about as many as asked for."""
    if not maximum > 0:
        return [0.0]
    rough = maximum / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [round(i * step, 12) for i in range(int(maximum / step) + 1)]


def line(frame: Frame, points: Points, colour: str) -> str:
    """A line through the points."""
    path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def between(frame: Frame, upper: Points, lower: Points, colour: str) -> str:
    """The area between two lines."""
    corners = " ".join(
        f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in (*upper, *reversed(tuple(lower)))
    )
    return f'<polygon points="{corners}" fill="{colour}" fill-opacity=".45"/>'


def band(frame: Frame, from_x: float, to_x: float, label: str) -> str:
    """A stretch of time, shaded from top to bottom and named."""
    left, right = frame.x(from_x), frame.x(to_x)
    return (
        f'<rect x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
        f'height="{frame.height - _TOP - _BOTTOM}" fill="var(--bad)" fill-opacity=".13"/>'
        f'<text x="{(left + right) / 2:.1f}" y="{_TOP + 13}" text-anchor="middle" '
        f'style="fill:var(--bad)">{label}</text>'
    )


def dot(frame: Frame, x: float, y: float) -> str:
    """A point that stands out of its line."""
    return f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5" fill="var(--blue)"/>'


def notes(frame: Frame, lines: Sequence[str]) -> str:
    """Lines of text in the lower right corner, above the axis."""
    first = frame.y(0) - 14 * len(lines)
    return "".join(
        f'<text x="{frame.width - _RIGHT - 4}" y="{first + 14 * i:.1f}" text-anchor="end">'
        f"{note}</text>"
        for i, note in enumerate(lines)
    )
