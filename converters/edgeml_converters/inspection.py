"""What the tensors of a .tflite hold, read with LiteRT's own schema.

`edgeml.runtime.graph` reads operators and signatures on any machine; this
module looks deeper, at the constants, which only a converter asks about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.errors import ConversionError
from edgeml.runtime.graph import TENSOR_TYPES

MIN_RUNTIME = b"min_runtime_version"


@dataclass(frozen=True, slots=True)
class Weights:
    """How many constant numbers a model holds, by type; indices and shapes left out."""

    elements: Mapping[str, int]

    @property
    def total(self) -> int:
        """Of every type together."""
        return sum(self.elements.values())


def read_weights(tflite: bytes) -> Weights:
    """Count the constants of at least two axes in every subgraph, by tensor type.

    Raises:
        ConversionError: the file cannot be read.
    """
    model = unpack_model(tflite)
    elements: dict[str, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
            if data is None or not len(data) or len(shape) < 2:
                continue
            kind = TENSOR_TYPES[tensor.type]
            if kind.startswith(("int64", "bool", "string")):
                continue
            count = 1
            for n in shape:
                count *= n
            elements[kind] = elements.get(kind, 0) + count
    return Weights(elements)


def oldest_runtime(tflite: bytes) -> str:
    """The oldest TFLite version that runs the model, as the converter recorded it."""
    model = unpack_model(tflite)
    for entry in model.metadata or ():
        if entry.name == MIN_RUNTIME:
            raw = bytes(model.buffers[entry.buffer].data)
            return raw.split(b"\0")[0].decode("ascii", errors="replace")
    return "1.14.0"


def unpack_model(tflite: bytes) -> Any:
    """The flatbuffer as a tree of objects of LiteRT's schema, `ModelT` at its root.

    Raises:
        ConversionError: the file cannot be read.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(tflite), 0))
    except Exception as exc:
        raise ConversionError(f"the .tflite cannot be read ({exc})") from exc


def pack_model(model: Any) -> bytes:
    """The opposite of `unpack_model`."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
