"""Channels first or channels last: what of it shapes decide, and what only numbers do.

PyTorch and most ONNX models have channels in front, sensors and TFLite have
them last. Which layout the windows have follows from their shape and the
model's. That a converted file is right in that layout follows from nothing: it
has to give the same answers to the same windows.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BackendError, ConversionError
from edgeml.runtime.graph import read_graph
from edgeml_converters.measure import run_tflite

Floats = npt.NDArray[np.float32]

TOLERANCE: Final = 1e-4
"""How far float answers may be apart, of the largest of them or of 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A file that answers as the model does.

    Attributes:
        tflite: takes windows as they are.
        output_last: whether its output has channels last where the model has them first.
        apart: how far its answers are from the model's, at most.
    """

    tflite: bytes
    output_last: bool
    apart: float


def channels_last(prepared: tuple[int, ...], model: tuple[int, ...]) -> bool:
    """Whether windows have their channels last where the model has them first.

    Args:
        prepared: the shape of a window behind the preprocessing.
        model: of the model's input, without the batch axis.

    Raises:
        ConversionError: windows fit in neither layout.
    """
    if prepared == model:
        return False
    if len(model) > 1 and prepared == (*model[1:], model[0]):
        return True
    turned = f", or {[*model[1:], model[0]]} with channels last" if len(model) > 1 else ""
    raise ConversionError(
        f"the spec's preprocessing gives {list(prepared)}, but the model takes "
        f"{list(model)}{turned}"
    )


def to_first(windows: Floats) -> Floats:
    """Windows (n, …, channels) as a model has them that takes (n, channels, …)."""
    return np.ascontiguousarray(np.moveaxis(windows, -1, 1))


def to_last(outputs: Floats) -> Floats:
    """The opposite of `to_first`."""
    return np.ascontiguousarray(np.moveaxis(outputs, 1, -1))


def settle(products: Iterable[bytes], windows: Floats, reference: Floats) -> Settled:
    """The first file whose numbers are the model's.

    Args:
        products: float .tflite files, made one after another as far as they are asked for.
        windows: (n, *prepared), real ones.
        reference: (n, *model output): what the model answers to them.

    Raises:
        ConversionError: none is; how far the nearest is away.
    """
    limit = TOLERANCE * max(1.0, float(np.abs(reference).max(initial=0.0)))
    nearest = math.inf
    for tflite in products:
        for output_last in (False, True):
            apart = _apart(tflite, windows, to_last(reference) if output_last else reference)
            if apart <= limit:
                return Settled(tflite, output_last, apart)
            nearest = min(nearest, apart)
            if reference.ndim < 3:
                break
    how = "has another shape" if math.isinf(nearest) else f"is {nearest:.3g} away from the model's"
    raise ConversionError(
        f"the converted file does not answer as the model does: on {len(windows)} windows its "
        f"answer {how}, and {limit:.3g} is allowed; that is a fault of the converter"
    )


def _apart(tflite: bytes, windows: Floats, reference: Floats) -> float:
    graph = read_graph(tflite, "the converted file")
    shapes = [tensor.shape for tensor in (*graph.inputs, *graph.outputs)]
    if shapes != [(1, *windows.shape[1:]), (1, *reference.shape[1:])]:
        return math.inf
    try:
        made = run_tflite(tflite, windows).outputs
    except (BackendError, ValueError) as exc:
        raise ConversionError(f"the interpreter fails on the converted file: {exc}") from exc
    return float(np.abs(made.astype(np.float64) - reference).max())


__all__ = ["Settled", "channels_last", "settle", "to_first", "to_last"]
