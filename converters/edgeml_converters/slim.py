"""Takes out of a .tflite what no interpreter reads: the same model in fewer bytes.

Names of inner tensors, the converter's notes on itself and calibration ranges
go; equal arrays (the zero points of every layer, above all) are stored once.
Inputs, outputs, signatures and the oldest runtime's version stay, because tools
read them. Nothing that is computed changes.
"""

from typing import Any, Final

import flatbuffers
import numpy as np
import numpy.typing as npt

from edgeml_converters.inspection import MIN_RUNTIME, unpack_model

WEIGHTS_ALIGNMENT: Final = 16
"""What schema.fbs forces for a buffer's data, and generated Python code leaves out."""


def _sharing_builder(size: int) -> Any:
    """A builder that writes each distinct vector once; a flatbuffer's offsets may meet."""
    # Builder has slots; an empty subclass of it can be given a method of its own.
    builder: Any = type("SharingBuilder", (flatbuffers.Builder,), {})(size)
    write = builder.CreateNumpyVector
    known: dict[tuple[str, bytes], int] = {}

    def aligned(x: npt.NDArray[Any]) -> int:
        builder.StartVector(1, x.size, WEIGHTS_ALIGNMENT)
        builder.head -= x.size
        builder.Bytes[builder.head : builder.head + x.size] = x.tobytes()
        builder.vectorNumElems = x.size
        return int(builder.EndVector())

    def shared(x: npt.NDArray[Any]) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in known:
            known[key] = aligned(x) if x.dtype == np.uint8 else int(write(x))
        return known[key]

    builder.CreateNumpyVector = shared
    return builder


def slim(tflite: bytes) -> bytes:
    """The same model, smaller or equal.

    Raises:
        ConversionError: the file cannot be read.
    """
    model = unpack_model(tflite)
    model.description = None
    kept = [entry for entry in model.metadata or () if entry.name == MIN_RUNTIME]
    for entry in model.metadata or ():
        if entry.name != MIN_RUNTIME:
            model.buffers[entry.buffer].data = None
    model.metadata = kept
    for graph in model.subgraphs:
        ends = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for i, tensor in enumerate(graph.tensors):
            if i not in ends:
                tensor.name = None
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
    builder = _sharing_builder(len(tflite))
    builder.Finish(model.Pack(builder), b"TFL3")
    packed = bytes(builder.Output())
    return packed if len(packed) < len(tflite) else tflite
