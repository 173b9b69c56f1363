"""Scales a window by its own content, where no constants from training exist.

A window, or a channel, that never changes has no scale of its own. It is
defined here: it becomes zeros (zscore, minmax), and silence stays silence
(peak, l2); never NaN.
"""

import numpy as np

from edgeml.jsonread import Fields
from edgeml.preprocess.params import choice
from edgeml.preprocess.stage import Array, Signal, Stage, Wide, widen

METHODS = ("zscore", "minmax", "peak", "l2")
SCOPES = ("channel", "window")


def normalize(fields: Fields, given: Signal) -> Stage:
    """One of four methods, over each channel (the last axis) or over the whole window.

    zscore: (x - mean) / std, std over n. minmax: to [0, 1]. peak: by the largest
    absolute value. l2: by the root of the sum of squares. Computed in float64 and
    rounded once: minmax and peak have the same bits everywhere, the other two
    depend on the order of a sum and so on numpy, by one unit in the last place.
    """
    method = choice(fields, "method", METHODS, default="zscore")
    scope = choice(fields, "scope", SCOPES, default="channel")
    rank = len(given.shape)
    axes = tuple(range(-rank, 0 if scope == "window" or rank == 1 else -1))

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        wide = widen(x)
        if method in {"zscore", "minmax"}:
            size = _centre(wide, method, axes)
        elif method == "peak":
            size = np.max(np.abs(wide), axes, keepdims=True)
        else:
            size = np.sqrt(np.sum(np.square(wide), axes, keepdims=True))
        np.copyto(size, np.inf, where=size == 0)
        wide /= size
        return wide.astype(np.float32)

    return Stage(given, run)


def _centre(wide: Wide, method: str, axes: tuple[int, ...]) -> Wide:
    """Moves `wide` to its origin in place; gives the size to divide by, 0 where nothing changes."""
    low = np.min(wide, axes, keepdims=True)
    span: Wide = np.max(wide, axes, keepdims=True) - low
    if method == "minmax":
        wide -= low
        return span
    wide -= np.mean(wide, axes, keepdims=True)
    std: Wide = np.sqrt(np.mean(np.square(wide), axes, keepdims=True))
    np.copyto(std, 0, where=span == 0)
    return std
