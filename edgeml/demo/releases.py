"""The releases of the demonstration: a second version that is fine, and a third that is not.

The third has the mistake that no test at home finds: somebody took the sensor's
unit for a thousandth of what it is. Its golden vectors were made with the same
mistake, so it passes its own self-test, and only real data show it.
"""

from typing import Final

import numpy as np

from edgeml.bundle import Bundle, Golden, pack
from edgeml.manifest import Budgets, PreprocessStep
from edgeml.runtime.model import Model

_WRONG_UNIT: Final = 0.001
_AMPLE: Final = Budgets(p95_ms=10_000.0, peak_rss_mb=2_000.0)
"""The demonstration also runs on emulated processors, which keep no promise about time."""


def good(bundle: Bundle, version: int) -> bytes:
    """The same model, released anew."""
    manifest = bundle.manifest.replace(version=version, budgets=_AMPLE)
    return pack(bundle.tflite, manifest, bundle.golden, bundle.baseline)


def wrong_unit(bundle: Bundle, version: int) -> bytes:
    """The same model behind preprocessing that makes nearly nothing of what the sensor says."""
    mistake = PreprocessStep("scale", {"factor": _WRONG_UNIT})
    manifest = bundle.manifest.replace(
        version=version, budgets=_AMPLE, preprocess=(mistake, *bundle.manifest.preprocess)
    )
    golden = bundle.golden
    if golden is not None:
        with Model.load(pack(bundle.tflite, manifest)) as model:
            said = np.stack([model.run_raw(window).copy() for window in golden.windows])
        golden = Golden(golden.windows, said.reshape(golden.outputs.shape), golden.tolerance)
    return pack(bundle.tflite, manifest, golden, bundle.baseline)
