"""Thresholds in float32 that decide exactly as scikit-learn's do in float64.

scikit-learn compares a value with a float64 threshold; a device compares
float32. For float32 values x <= t is the same as x <= the largest float32 that
is not above t. Where scalers stand in front of the trees, what is compared is
some f(x), computed in float64 with roundings of its own; since f never falls,
there is again one largest float32 that goes left, and it is found by bisection
over all of them, with scikit-learn's own arithmetic. So the scalers leave the
graph, and no rounding of theirs is ever repeated differently.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml_converters.sources.sklearn.compiled import Columns, Floats, Wide

Indices = npt.NDArray[np.intp]

LARGEST: Final = int(np.float32(np.finfo(np.float32).max).view(np.int32))


def fold(
    columns: Sequence[Columns], feature: Indices, threshold: Wide, *, single: bool
) -> tuple[Indices, Floats]:
    """Which raw column each node looks at, and the largest float32 of it that goes left.

    Args:
        columns: the transformers in front of the trees, first one first.
        feature: (n,) of the nodes, behind the transformers.
        threshold: (n,), finite or infinite.
        single: whether scikit-learn rounds to float32 before it compares, as its
            trees do and its histogram boosting does not.

    Returns:
        Raw columns, and thresholds: minus infinity where nothing goes left.
    """
    raw = feature
    path: list[tuple[Columns, Indices]] = []
    for step in reversed(columns):
        path.append((step, raw))
        raw = step.source[raw]

    def goes_left(rank: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        values = _ranked(rank).astype(np.float64)
        with np.errstate(over="ignore"):
            for step, column in reversed(path):
                values = step.apply(values, column)
            if single:
                values = values.astype(np.float32).astype(np.float64)
        return values <= threshold

    low = np.full(len(raw), -LARGEST - 1, np.int64)  # goes left, or nothing does
    high = np.full(len(raw), LARGEST + 1, np.int64)  # does not
    while (high - low > 1).any():
        middle = (low + high) // 2
        left = goes_left(np.clip(middle, -LARGEST, LARGEST))
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    found = _ranked(np.maximum(low, -LARGEST))
    return raw, np.where(low < -LARGEST, np.float32(-np.inf), found)


def above(threshold: Floats) -> Floats:
    """The smallest float32 that does not go left; infinity where all of them do."""
    with np.errstate(over="ignore"):
        next_one: Floats = np.nextafter(threshold, np.float32(np.inf))
    return next_one


def _ranked(rank: npt.NDArray[np.int64]) -> Floats:
    """The float32 of a rank: 0 is zero, and each step up is the next larger number."""
    magnitude = np.abs(rank).astype(np.int32).view(np.float32)
    return np.asarray(np.where(rank < 0, -magnitude, magnitude), np.float32)
