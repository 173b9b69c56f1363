"""What the tensors of a .tflite hold, read with LiteRT's own schema.

`edgeml.runtime.graph` reads operators and signatures on any machine; this
module looks deeper, at the constants, which only a converter asks about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml.runtime.graph import BUILTIN_OPERATORS, TENSOR_TYPES

MIN_RUNTIME: Final = b"min_runtime_version"
CASTS: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})
OLDEST_WITH_INT4: Final = "2.15.0"
"""The first TFLite after the last that refuses int4 weights (measured on 2.14.0)."""


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


def read_activations(tflite: bytes) -> set[str]:
    """The types of what operators compute, those left out that only change a type."""
    model = unpack_model(tflite)
    graph = model.subgraphs[0]
    return {
        TENSOR_TYPES[graph.tensors[int(operator.outputs[0])].type]
        for operator in graph.operators
        if operator_name(model, operator) not in CASTS
    }


def operator_name(model: Any, operator: Any) -> str:
    """TFLite's name for an operator of an unpacked model."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    return BUILTIN_OPERATORS[number] if number < len(BUILTIN_OPERATORS) else f"BUILTIN_{number}"


def oldest_runtime(tflite: bytes) -> str:
    """The oldest TFLite version that runs the model.

    As the converter recorded it; but its table knows operators and not all of
    their types, and int4 is newer than what it says.
    """
    model = unpack_model(tflite)
    if any(TENSOR_TYPES[t.type] == "int4" for graph in model.subgraphs for t in graph.tensors):
        return OLDEST_WITH_INT4
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
