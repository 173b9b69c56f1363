"""Full int8: one calibration, a few ways to quantise it, and the best of them.

Quantising a calibrated model takes hundredths of a second, so it is done with
the ranges that were seen and with narrower ones (`ranges.py`), and the one
nearer to the float model on the calibration windows is kept. Dense layers get a
scale for each output; where those scales would make up much of the file, one
scale for the layer is kept instead if the outputs are as good.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml_converters.granularity import fit_to_size
from edgeml_converters.lite import quantise
from edgeml_converters.measure import run_tflite
from edgeml_converters.ranges import clipped
from edgeml_converters.samples import spread
from edgeml_converters.slim import slim

Floats = npt.NDArray[np.float32]

MAX_WINDOWS: Final = 100
"""How many of the calibration windows ranges are chosen on."""
MUCH_SMALLER: Final = 0.95
AS_GOOD: Final = 1.1
"""How much larger the error may be for a file that is smaller by a twentieth."""


@dataclass(frozen=True, slots=True)
class Int8:
    """An int8 file and how it was made.

    Attributes:
        tflite: the file, unchecked.
        calibrated: the float file with the ranges that it was quantised from.
        dense_per_channel: whether dense layers got a scale for each output.
    """

    tflite: bytes
    calibrated: bytes
    dense_per_channel: bool


def convert_int8(
    wide: bytes,
    io: str,
    calibration: Floats,
    max_bytes: int | None = None,
    *,
    clip: bool = True,
) -> Int8:
    """Quantise a calibrated model in the best of a few ways.

    Args:
        wide: from `lite.calibrate`.
        io: "float" or "int8": the type of the model's input and output.
        calibration: float32 (n, *model input), preprocessed.
        max_bytes: a size to stay within where dense layers leave a choice.
        clip: whether narrower ranges may be tried; not for a model whose task is to notice
            what calibration never saw.

    Raises:
        ConversionError: the converter refuses the model.
        BackendError: the interpreter refuses what it made.
    """
    judged = spread(calibration, MAX_WINDOWS)
    reference = run_tflite(wide, judged).outputs

    def error(tflite: bytes) -> float:
        """Root mean squared, on the calibration windows."""
        return float(np.sqrt(np.mean((run_tflite(tflite, judged).outputs - reference) ** 2)))

    choices = (wide, clipped(wide, judged)) if clip else (wide,)
    made = {ranges: quantise(ranges, io) for ranges in choices}
    errors = {ranges: error(tflite) for ranges, tflite in made.items()}
    best = min(made, key=lambda ranges: errors[ranges])
    fine, coarse = slim(made[best]), quantise(best, io, dense_per_channel=False)
    if max_bytes is not None and len(fine) > max_bytes:
        return Int8(fit_to_size(coarse, made[best], max_bytes, error), best, False)
    small = slim(coarse)
    if len(small) < MUCH_SMALLER * len(fine) and error(small) <= AS_GOOD * errors[best]:
        return Int8(small, best, False)
    return Int8(fine, best, True)
