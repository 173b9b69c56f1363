"""Where the name of each disc in a chart goes: near it, and not over another name or disc."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LINE_PX: Final = 13
LETTER_PX: Final = 6.3
"""A letter of 11 pixels in the usual fonts, generously."""
GAP_PX: Final = 4
_ROWS: Final = 4
_NEAR_EDGE: Final = 0.12


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, rows growing downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two have a pixel in common."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


@dataclass(frozen=True, slots=True)
class Disc:
    """Something drawn, with a name.

    Attributes:
        x: its middle, in pixels.
        y: likewise.
        radius: in pixels.
        label: its name; empty for none.
    """

    x: float
    y: float
    radius: float
    label: str

    @property
    def box(self) -> Box:
        """The square around it."""
        r = self.radius
        return Box(self.x - r, self.y - r, self.x + r, self.y + r)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is written.

    Attributes:
        anchor: which of its ends `x` is: SVG's text-anchor.
        x: in pixels.
        baseline: the row that its letters stand on.
        box: what it covers.
    """

    anchor: str
    x: float
    baseline: float
    box: Box


def places(discs: Sequence[Disc], area: Box, taken: Sequence[Box] = ()) -> list[Place]:
    """A place for each name: the nearest above or below its disc where nothing is yet.

    Args:
        discs: in the order in which they choose.
        area: names stay within it.
        taken: what is drawn already.

    Returns:
        One each; where everything is taken, the one right above the disc.
    """
    held = [*taken, *(disc.box for disc in discs)]
    found = []
    for disc in discs:
        ways = _ways(disc, area)
        free = (one for one in ways if not any(one.box.meets(box) for box in held))
        place = next(free, ways[0])
        held.append(place.box)
        found.append(place)
    return found


def _ways(disc: Disc, area: Box) -> list[Place]:
    """Above first, then below, then a line further away, within the area where that can be."""
    width = LETTER_PX * len(disc.label)
    share = (disc.x - area.left) / ((area.right - area.left) or 1.0)
    anchor = "start" if share < _NEAR_EDGE else "end" if share > 1 - _NEAR_EDGE else "middle"
    left = disc.x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    ways = []
    for row in range(_ROWS):
        away = disc.radius + GAP_PX + LINE_PX * row
        for top in (disc.y - away - LINE_PX, disc.y + away):
            box = Box(left, top, left + width, top + LINE_PX)
            ways.append(Place(anchor, disc.x, top + LINE_PX - 3, box))
    inside = [one for one in ways if area.top <= one.box.top and one.box.bottom <= area.bottom]
    return inside or ways
