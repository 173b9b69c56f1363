"""Chooses the range of every activation: as wide as it must be, not as wide as its rarest value.

The converter takes the smallest and largest value it saw. One bright pixel then
coarsens every other value of its tensor. Here the range of each inner tensor is
the one with the least squared error of quantising what the calibration windows
really put there: some values are clipped, the rest become finer. Input and
output keep all they saw, because a sensor's extremes and a score's mean more
than their share of the squared error.
"""

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BackendError
from edgeml_converters.inspection import pack_model, unpack_model

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

Counts = npt.NDArray[np.int64]
Range = tuple[float, float]

BINS: Final = 2048
STEPS: Final = 255
SHARES: Final = tuple(float(share) for share in np.linspace(1.0, 0.3, 36))
_FLOAT32: Final = 0


def clipped(calibrated: bytes, windows: Floats) -> bytes:
    """A calibrated model with its inner ranges narrowed where that lowers the error.

    Args:
        calibrated: from `lite.calibrate`.
        windows: float32 (n, *model input), preprocessed: some of those it was calibrated on.

    Raises:
        BackendError: the interpreter refuses the model.
    """
    model = unpack_model(calibrated)
    graph = model.subgraphs[0]
    ends = {int(i) for i in (*graph.inputs, *graph.outputs)}
    # Nothing is to be seen in what no operator computes, as intermediates of a fused layer.
    made = {int(i) for operator in graph.operators for i in operator.outputs}
    held = {
        i: _with_zero(tensor.quantization)
        for i, tensor in enumerate(graph.tensors)
        if i in made
        and tensor.type == _FLOAT32
        and i not in ends
        and tensor.quantization is not None
        and tensor.quantization.min is not None
        and model.buffers[tensor.buffer].data is None
    }
    for i, counts in _count(calibrated, held, windows).items():
        low, high = best_range(*held[i], counts)
        graph.tensors[i].quantization.min = [low]
        graph.tensors[i].quantization.max = [high]
    return pack_model(model)


def _with_zero(seen: Any) -> Range:
    """From the smallest to the largest value that calibration saw, and zero, which is exact."""
    return min(float(seen.min[0]), 0.0), max(float(seen.max[0]), 0.0)


def count(values: npt.NDArray[Any], low: float, high: float) -> Counts:
    """How many values lie in each of `BINS` equal parts of a range; none lies outside."""
    return np.histogram(np.clip(values, low, high), BINS, (low, high))[0]


def best_range(low: float, high: float, counts: Counts) -> Range:
    """The range around zero with the least squared error when values become 8-bit.

    Args:
        low: the smallest of them, not above zero.
        high: the largest, not below zero.
        counts: from `count`.

    Returns:
        Low and high: the same share, 0.3 to 1, of what was seen.
    """
    if low == high:
        return low, high
    edges = np.linspace(low, high, BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    errors = [_error(centres, counts, low * share, high * share) for share in SHARES]
    share = SHARES[int(np.argmin(errors))]
    return low * share, high * share


def _error(centres: Wide, counts: npt.NDArray[Any], low: float, high: float) -> float:
    step = (high - low) / STEPS
    quantised = np.clip(np.rint(centres / step), np.rint(low / step), np.rint(high / step)) * step
    return float(np.sum(counts * (centres - quantised) ** 2))


def _count(tflite: bytes, held: Mapping[int, Range], windows: Floats) -> dict[int, Counts]:
    """What each of these tensors held, counted by window, since all of it would fill the memory."""
    from ai_edge_litert.interpreter import Interpreter

    from edgeml.runtime.quiet import quiet_native_log

    seen: dict[int, Counts] = {}
    try:
        with quiet_native_log(), warnings.catch_warnings():
            # It warns that keeping every tensor takes memory, which is the purpose here.
            warnings.simplefilter("ignore", UserWarning)
            interpreter = Interpreter(model_content=tflite, experimental_preserve_all_tensors=True)
            interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]["index"]
        for window in windows:
            interpreter.set_tensor(given, window[np.newaxis])
            interpreter.invoke()
            for i, (low, high) in held.items():
                with contextlib.suppress(ValueError):  # an output that nobody reads has no memory
                    seen[i] = seen.get(i, 0) + count(interpreter.get_tensor(i), low, high)
    except (ValueError, RuntimeError) as exc:
        raise BackendError(f"the interpreter cannot show the model's inner tensors: {exc}") from exc
    return seen
