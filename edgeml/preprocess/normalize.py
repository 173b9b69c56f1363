"""Scales a window by its own content, where no constants from training exist.

A window, or a channel, that never changes has no scale of its own. It is
defined here: it becomes zeros (zscore, minmax), and silence stays silence
(peak, l2); never NaN.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from edgeml.arrays import Wide
from edgeml.jsonread import Fields
from edgeml.preprocess.params import choice
from edgeml.preprocess.stage import Array, Signal, Stage, widen

SCOPES = ("channel", "window")


def normalize(fields: Fields, given: Signal) -> Stage:
    """One of four methods, over each channel (the last axis) or over the whole window.

    zscore: (x - mean) / std, std over n. minmax: to [0, 1]. peak: by the largest
    absolute value. l2: by the root of the sum of squares. Computed in float64 and
    rounded once: minmax and peak have the same bits everywhere, the other two
    depend on the order of a sum and so on numpy, by one unit in the last place.
    """
    method = choice(fields, "method", tuple(METHODS), default="zscore")
    scope = choice(fields, "scope", SCOPES, default="channel")
    rank = len(given.shape)
    axes = tuple(range(-rank, 0 if scope == "window" or rank == 1 else -1))
    count = math.prod(given.shape[: len(axes)])
    measure = METHODS[method]

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        wide = widen(x)
        size = measure(wide, axes, count)
        size[size == 0] = np.inf
        wide /= size
        return wide.astype(np.float32)

    return Stage(given, run)


def _zscore(wide: Wide, axes: tuple[int, ...], count: int) -> Wide:
    # The mean of equal float32 values is exact in float64, so what is constant becomes exact zeros.
    wide -= np.add.reduce(wide, axes, keepdims=True) / count
    std: Wide = np.sqrt(np.add.reduce(np.square(wide), axes, keepdims=True) / count)
    return std


def _minmax(wide: Wide, axes: tuple[int, ...], _: int) -> Wide:
    low = np.minimum.reduce(wide, axes, keepdims=True)
    wide -= low
    span: Wide = np.maximum.reduce(wide, axes, keepdims=True)
    return span


def _peak(wide: Wide, axes: tuple[int, ...], _: int) -> Wide:
    peak: Wide = np.maximum.reduce(np.abs(wide), axes, keepdims=True)
    return peak


def _l2(wide: Wide, axes: tuple[int, ...], _: int) -> Wide:
    length: Wide = np.sqrt(np.add.reduce(np.square(wide), axes, keepdims=True))
    return length


METHODS: Final[Mapping[str, Callable[[Wide, tuple[int, ...], int], Wide]]] = {
    "zscore": _zscore,
    "minmax": _minmax,
    "peak": _peak,
    "l2": _l2,
}
"""Each moves the window to its origin in place, and gives the size to divide it by."""
