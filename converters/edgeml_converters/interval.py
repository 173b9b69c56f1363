"""How sure a drop in score is, given how few windows there are.

Two models are judged on the same windows, so their errors go together and the
difference is what has an interval. For shares of windows (accuracy, agreement)
it is Tango's score interval for paired proportions (Statistics in Medicine 17,
1998), which stays honest when the two never differ: 40 windows without a
difference still leave room for 9 points. For other scores it is a paired
bootstrap (Efron and Tibshirani, 1993, ch. 13).
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Z_95: Final = 1.959963984540054
RESAMPLES: Final = 1000
SEED: Final = 20240601
_BISECTIONS: Final = 60


def paired_shares(
    reference_right: npt.NDArray[Any], ours_right: npt.NDArray[Any]
) -> tuple[float, float]:
    """A 95 % interval for the reference's share of right answers minus ours.

    Args:
        reference_right: bool (n,), n at least 1.
        ours_right: bool (n,), on the same windows.
    """
    reference = np.asarray(reference_right, bool)
    ours = np.asarray(ours_right, bool)
    n = len(reference)
    lost = int(np.sum(reference & ~ours))
    won = int(np.sum(~reference & ours))
    estimate = (lost - won) / n
    low = _bisect(lambda drop: _score(lost, won, n, drop) <= Z_95, -1.0, estimate)
    high = _bisect(lambda drop: _score(lost, won, n, drop) < -Z_95, estimate, 1.0)
    return low, high


def _score(lost: int, won: int, n: int, drop: float) -> float:
    """Tango's statistic: how many standard errors the data lie above a supposed drop."""
    a = 2.0 * n
    b = -lost - won + (2 * n - lost + won) * drop
    c = -won * drop * (1 - drop)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share + drop * (1 - drop))
    gap = lost - won - n * drop
    if variance <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition, false at `low` and true at `high`, begins to hold."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def paired_bootstrap(
    drop_of: Callable[[npt.NDArray[np.int64]], float], n: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """A 95 % interval for any drop: the quantiles of what redrawn windows give.

    Args:
        drop_of: the drop on the windows with these indices.
        n: how many windows there are.
        resamples: how many times n of them are drawn, with replacement.
    """
    rng = np.random.default_rng(SEED)
    drops = [drop_of(rng.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.quantile(drops, (0.025, 0.975))
    return float(low), float(high)
