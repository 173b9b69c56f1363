"""Runs a .tflite with the interpreter that the devices use, not with the one that made it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.runtime.backend import DelegateSpec, open_backend
from edgeml.runtime.tensors import TensorSpec, dequantise, quantise

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a model said.

    Attributes:
        raw: (n, *output shape), in the output tensor's own dtype.
        outputs: float32 (n, *output shape), dequantised.
        output: the output tensor.
    """

    raw: npt.NDArray[Any]
    outputs: Floats
    output: TensorSpec


def run_tflite(tflite: bytes, inputs: Floats, delegate: str | None = None) -> Run:
    """Run every window through a model with one input and one output, a batch of 1 at a time.

    Args:
        tflite: a file that was made here and so is trusted to open.
        inputs: float32 (n, *model input), preprocessed; n at least 1.
        delegate: "none" for the interpreter's own kernels instead of XNNPACK's.

    Raises:
        BackendError: the interpreter refuses the model or fails.
    """
    spec = None if delegate is None else DelegateSpec(delegate, {})
    backend = open_backend(tflite, delegate=spec)
    given, made = backend.input, backend.outputs[0]
    batch = quantise(inputs, given) if given.quantised else inputs.astype(given.dtype)
    rows = [backend.run(window.reshape(given.shape))[0] for window in batch]
    raw = np.concatenate(rows)
    return Run(raw, dequantise(raw, made), made)
