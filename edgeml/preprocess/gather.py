"""Makes each element along an axis a weighted sum of a few: resizing and resampling in one form.

Float32, one product and one sum at a time in a fixed order: the same bits on
every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.arrays import Wide
from edgeml.preprocess.stage import Array

SHORT_ROW = 16
"""Weights are spread over rows no longer than this, which would make slow inner loops."""

UNHEARD = 1e-12
"""Taps that weigh no more than this everywhere are below the last bit of float32, and left out."""


@dataclass(frozen=True, slots=True)
class Taps:
    """For each of n outputs, k source elements and their weights.

    Attributes:
        index: intp (k, n).
        weight: float64 (k, n); 0 where an output needs fewer than k.
    """

    index: npt.NDArray[np.intp]
    weight: Wide


def weighted_sum(taps: Taps, row: int) -> Callable[[Array], Array]:
    """Compiles taps for arrays (m, size, row) to (m, n, row)."""
    spread = row if row <= SHORT_ROW else 1
    plan = [
        (index, np.repeat(weight[:, None], spread, axis=1).astype(np.float32))
        for index, weight in zip(taps.index, taps.weight, strict=True)
        if np.max(np.abs(weight)) > UNHEARD
    ]
    (first, first_weight), rest = plan[0], plan[1:]

    def run(x: Array) -> Array:
        y: Array = x.take(first, axis=1)
        y *= first_weight
        if rest:
            part = np.empty_like(y)
        for index, weight in rest:
            x.take(index, 1, part, "clip")
            part *= weight
            y += part
        return y

    return run


def nearest_index(size: int, wanted: int) -> npt.NDArray[np.intp]:
    """The source pixel that holds each output pixel's centre."""
    return (2 * np.arange(wanted, dtype=np.intp) + 1) * size // (2 * wanted)


def bilinear_taps(size: int, wanted: int) -> Taps:
    """The two source pixels whose centres enclose each output pixel's centre.

    Beyond the outermost centres the border pixel stands alone.
    """
    position = np.clip((np.arange(wanted) + 0.5) * (size / wanted) - 0.5, 0, size - 1)
    below = np.floor(position).astype(np.intp)
    fraction = position - below
    return Taps(
        np.array([below, np.minimum(below + 1, size - 1)]), np.array([1 - fraction, fraction])
    )


def area_taps(size: int, wanted: int) -> Taps:
    """Every source pixel by the share of each output pixel that it covers, reckoned exactly."""
    start = np.arange(wanted, dtype=np.intp) * size
    first = start // wanted
    count = int(np.max((start + size - 1) // wanted - first)) + 1
    index = first + np.arange(count, dtype=np.intp)[:, None]
    covered = np.minimum((index + 1) * wanted, start + size) - np.maximum(index * wanted, start)
    return Taps(np.minimum(index, size - 1), np.maximum(covered, 0) / size)
