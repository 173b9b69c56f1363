"""A small chart whose axes need not begin at zero: points with names, and lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, NamedTuple

from edgeml.demo.page import drawing
from edgeml_converters.report.labels import GAP_PX, LETTER_PX, LINE_PX, Box, Disc, places

_LEFT: Final = 58
_RIGHT: Final = 16
_TOP: Final = 20
_BOTTOM: Final = 34
COLOURS: Final = (
    *("var(--blue)", "var(--amber)", "var(--good)", "var(--bad)"),
    *("#8e5bd0", "#159aa8", "#b3477f", "#7a7f3a"),
)


class Point(NamedTuple):
    """A disc at a value of each axis, its radius in pixels, its colour and its name."""

    x: float
    y: float
    radius: float
    colour: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart's size in pixels and the ranges of its axes."""

    width: int
    height: int
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    x_label: str = ""
    y_label: str = ""

    def x(self, value: float) -> float:
        """The pixel column of a value."""
        span = (self.x_high - self.x_low) or 1.0
        return _LEFT + (value - self.x_low) / span * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """The pixel row of a value."""
        span = (self.y_high - self.y_low) or 1.0
        share = (value - self.y_low) / span
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def svg(self, parts: Sequence[str]) -> str:
        """The drawing on its axes."""
        return drawing(self.width, self.height, [self._axes(), *parts])

    def line(self, ys: Sequence[float], colour: str, width: float = 1.4, step: int = 1) -> str:
        """A line through values at 0, `step`, twice `step` and so on."""
        path = " ".join(f"{self.x(i * step):.1f},{self.y(y):.1f}" for i, y in enumerate(ys))
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def rule(self, y: float, colour: str, label: str) -> str:
        """A dashed horizontal line with a name at its right end."""
        row = f"{self.y(y):.1f}"
        return (
            f'<line x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{row}" y2="{row}" '
            f'stroke="{colour}" stroke-dasharray="5 4"/>'
            f'<text x="{self.width - _RIGHT}" y="{float(row) - 5:.1f}" text-anchor="end" '
            f'style="fill:{colour}">{escape(label)}</text>'
        )

    def points(self, points: Sequence[Point], rule: tuple[float, str] | None = None) -> str:
        """Discs, each with its name where no other name or disc is.

        Args:
            points: what to draw.
            rule: the value and the name of what `rule` drew, which no name is laid over.
        """
        discs = [Disc(self.x(p.x), self.y(p.y), p.radius, p.label) for p in points]
        edge = self.width - _RIGHT
        area = Box(_LEFT, 0, edge, self.height - _BOTTOM)
        taken = []
        if rule is not None:
            row, width = self.y(rule[0]), LETTER_PX * len(rule[1])
            taken = [Box(edge - width, row - LINE_PX - GAP_PX, edge, row - GAP_PX)]
        drawn = "".join(
            f'<circle cx="{disc.x:.1f}" cy="{disc.y:.1f}" r="{disc.radius:.1f}" '
            f'fill="{point.colour}" fill-opacity=".75"/>'
            for point, disc in zip(points, discs, strict=True)
        )
        named = [(p, disc) for p, disc in zip(points, discs, strict=True) if p.label]
        taken += [disc.box for disc in discs if not disc.label]
        found = places([disc for _, disc in named], area, taken)
        return drawn + "".join(
            f'<text x="{place.x:.1f}" y="{place.baseline:.1f}" text-anchor="{place.anchor}" '
            f'style="fill:{point.colour}">{escape(point.label)}</text>'
            for (point, _), place in zip(named, found, strict=True)
        )

    def _axes(self) -> str:
        across = [
            f'<line x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{self.y(v):.1f}" '
            f'y2="{self.y(v):.1f}" stroke="var(--line)" stroke-width=".7"/>'
            f'<text x="{_LEFT - 6}" y="{self.y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
            for v in round_ticks(self.y_low, self.y_high, 4)
        ]
        down = [
            f'<text x="{self.x(v):.1f}" y="{self.height - 18}" text-anchor="middle">{v:g}</text>'
            for v in round_ticks(self.x_low, self.x_high, 6)
        ]
        names = (
            f'<text x="{_LEFT}" y="11">{escape(self.y_label)}</text>'
            f'<text x="{self.width - _RIGHT}" y="{self.height - 4}" text-anchor="end">'
            f"{escape(self.x_label)}</text>"
        )
        return "".join([*across, *down, names])


def padded(values: Sequence[float], share: float = 0.12) -> tuple[float, float]:
    """A range around some values; one of width where they are all equal."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * share or abs(high) * share or 0.5
    return low - room, high + room


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values between two others, about as many as asked for."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    last = math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]
