"""The self-test: does this model, on this machine, compute what it computed where it was made?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeml.bundle import Golden
from edgeml.errors import BundleError
from edgeml.runtime.model import Model


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """What the self-test found.

    Attributes:
        passed: whether every window stayed within the tolerance.
        windows: how many were run.
        worst: the largest difference, in steps of an integer output or absolute for a float one.
        tolerance: that the bundle allows.
        failed: how many windows went beyond it.
    """

    passed: bool
    windows: int
    worst: float
    tolerance: float
    failed: int

    def as_dict(self) -> dict[str, Any]:
        """JSON values; a difference that is not a number becomes None."""
        worst = self.worst if np.isfinite(self.worst) else None
        return {**asdict(self), "worst": worst}


def check_golden(model: Model, golden: Golden) -> GoldenReport:
    """Run the golden windows and compare.

    Raises:
        BundleError: the expected outputs are not of the model's shape or dtype.
        BackendError: the interpreter failed.
    """
    worst = 0.0
    failed = 0
    for window, expected in zip(golden.windows, golden.outputs, strict=True):
        given = model.run_raw(window)
        if given.size != expected.size or given.dtype != expected.dtype:
            raise BundleError(
                f"{model.ref.name}: golden outputs are {expected.dtype} {list(expected.shape)} "
                f"but the model gives {given.dtype} {list(given.shape)}"
            )
        away = np.abs(given.ravel().astype(np.float64) - expected.ravel().astype(np.float64))
        largest = float(away.max(initial=0.0))
        # NaN on either side fails: no comparison with it is true.
        failed += not largest <= golden.tolerance
        if not np.isnan(worst) and not largest <= worst:
            worst = largest
    return GoldenReport(failed == 0, len(golden.windows), worst, golden.tolerance, failed)
