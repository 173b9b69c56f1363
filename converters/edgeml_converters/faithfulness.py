"""Whether the files compute what the model computed in its own framework.

Three things are held together: the model where it was trained, its float
TFLite, and the chosen TFLite. What the first two differ by is the conversion's
fault, what the last two differ by is quantisation's price; only a comparison of
all three tells them apart.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError
from edgeml_converters.analysis import Comparison, Confusion
from edgeml_converters.judge import Judge

Floats = npt.NDArray[np.float32]

CLOSE: Final = 1e-3
"""What float kernels may differ by, as a share of the outputs' spread."""
ANOTHER_MODEL: Final = 0.1
"""From here on a float file is no conversion of the model."""


def compare(
    scheme: str, data: str, judge: Judge, inputs: Floats, reference: Floats, made: Floats
) -> Comparison:
    """Hold a file's outputs against the framework's.

    Args:
        scheme: of the file.
        data: what the windows are.
        judge: knows what outputs say.
        inputs: float32 (n, *model input), preprocessed.
        reference: (n, *model output), the framework's.
        made: (n, *model output), dequantised.
    """
    ours, theirs = judge.answers(made, inputs), judge.answers(reference, inputs)
    difference = made.astype(np.float64) - reference
    return Comparison(
        scheme=scheme,
        data=data,
        windows=len(made),
        rmse=float(np.sqrt(np.mean(difference**2))),
        largest=float(np.abs(difference).max()),
        agreement=float(judge.agreeing(ours, theirs).mean()),
    )


def check_float(comparison: Comparison, reference: Floats, framework: str) -> str | None:
    """What to say of the float file; None where it computes what the model does.

    Args:
        comparison: of the float file.
        reference: (n, *model output), the framework's.
        framework: its name.

    Raises:
        ConversionError: it computes something else.
    """
    spread = float(reference.std()) or max(float(np.abs(reference).max()), 1e-9)
    share = comparison.rmse / spread
    if not share < ANOTHER_MODEL:
        raise ConversionError(
            f"the float TFLite does not compute what {framework} computes: its outputs are off by "
            f"{comparison.rmse:.3g}, {100 * share:.0f} % of their spread; the model uses something "
            "that TFLite has another meaning for"
        )
    if share > CLOSE:
        return (
            f"the float TFLite is off by {comparison.rmse:.3g} ({100 * share:.2g} % of the "
            f"outputs' spread) from {framework}, before any quantisation"
        )
    return None


def confusion(
    labels: Sequence[str], truth: npt.NDArray[Any], said: npt.NDArray[np.float64]
) -> Confusion:
    """Count what was said to each class.

    Args:
        labels: of the classes.
        truth: (n,) class indices.
        said: (n, classes), of which the largest counts.
    """
    n = len(labels)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (truth, said.argmax(1)), 1)
    return Confusion(tuple(labels), tuple(tuple(int(c) for c in row) for row in counts))
