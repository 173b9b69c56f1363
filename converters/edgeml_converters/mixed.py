"""Int8 with its worst layers left in float, as few as keep the score.

How much a layer costs is measured with that layer alone in int8 and all others
in float: leaving one out of an int8 model would not show it, because its input
and output would still be rounded by its neighbours. Layers are then taken out of
int8 in that order, one more at a time.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.runtime.graph import TENSOR_TYPES
from edgeml_converters.inspection import unpack_model
from edgeml_converters.int8 import Int8
from edgeml_converters.layers import readable
from edgeml_converters.lite import quantise
from edgeml_converters.measure import run_tflite
from edgeml_converters.samples import spread
from edgeml_converters.slim import slim

Floats = npt.NDArray[np.float32]

RANKING_WINDOWS: Final = 32


def mixtures(int8: Int8, io: str, calibration: Floats) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Files with one more layer in float each, and the names of those layers.

    Args:
        int8: the file that loses too much, and the ranges it was made with.
        io: "float" or "int8".
        calibration: float32 (n, *model input), preprocessed.

    Raises:
        ConversionError: the quantiser refuses the model.
        BackendError: the interpreter refuses what it made.
    """
    order = rank(int8, io, calibration)
    for count in range(1, len(order)):
        left = order[:count]
        made = quantise(
            int8.calibrated, io, dense_per_channel=int8.dense_per_channel, in_float=left
        )
        yield slim(made), tuple(readable(name) for name in left)


def rank(int8: Int8, io: str, calibration: Floats) -> list[str]:
    """The names of all layers, the one whose quantisation costs most first."""
    names = layer_names(int8.calibrated)
    windows = spread(calibration, RANKING_WINDOWS)
    reference = run_tflite(int8.calibrated, windows).outputs

    def error(name: str) -> float:
        others = [other for other in names if other != name]
        made = quantise(
            int8.calibrated, io, dense_per_channel=int8.dense_per_channel, in_float=others
        )
        return float(np.mean((run_tflite(made, windows).outputs - reference) ** 2))

    return sorted(names, key=error, reverse=True)


def layer_names(tflite: bytes) -> list[str]:
    """What each operator on floats calls its output, in order of execution."""
    model = unpack_model(tflite)
    graph = model.subgraphs[0]
    outputs = [graph.tensors[int(operator.outputs[0])] for operator in graph.operators]
    return [
        tensor.name.decode("utf-8", "replace")
        for tensor in outputs
        if TENSOR_TYPES[tensor.type] == "float32"
    ]
