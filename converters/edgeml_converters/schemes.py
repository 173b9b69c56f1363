"""The ways to quantise, as a table, and the proof that one was really applied.

TensorFlow's converter falls back silently: a graph it cannot quantise stays
float and still carries the name. So a file is believed only after its own
tensors were read: the types of input, output and weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgeml.errors import ConfigError, ConversionError, nearest
from edgeml.runtime.graph import read_graph
from edgeml_converters.inspection import Weights, read_activations, read_weights


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to quantise.

    Attributes:
        name: on the command line and in the manifest.
        op_sets: the converter's operator sets; empty where it has no switch for the scheme.
        weight_type: the type that weights must have for the scheme to count as applied.
        activation_dtype: of input and output where `io` is "int8"; "" where they stay float.
        optimise: whether the converter's optimisation is on.
        calibrated: whether ranges are measured on data.
        weights: the tensor type that most of the weights must have.
        cost: rank of what it costs to run on an ARM core: integers throughout are the
            cheapest, weights that are turned back into floats the dearest.
    """

    name: str
    op_sets: tuple[str, ...]
    weights: str
    cost: int
    weight_type: str = ""
    activation_dtype: str = ""
    optimise: bool = True
    calibrated: bool = False


SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme("float32", ("TFLITE_BUILTINS",), "float32", 2, optimise=False),
            Scheme("float16", ("TFLITE_BUILTINS",), "float16", 3, weight_type="float16"),
            Scheme("dynamic", ("TFLITE_BUILTINS",), "int8", 1),
            Scheme(
                "int8",
                ("TFLITE_BUILTINS_INT8",),
                "int8",
                0,
                activation_dtype="int8",
                calibrated=True,
            ),
            Scheme(
                "int16x8",
                ("EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",),
                "int8",
                1,
                activation_dtype="int16",
                calibrated=True,
            ),
            Scheme("mixed", (), "int8", 1, activation_dtype="int8", calibrated=True),
            Scheme("int4", (), "int4", 3),
        )
    }
)

AUTO: Final = ("float32", "float16", "dynamic", "int8", "int16x8", "mixed")
"""What "auto" tries. Not int4, which tflite-runtime refuses: only who asks for it gets it."""

BY_TENSORFLOW: Final = tuple(name for name, scheme in SCHEMES.items() if scheme.op_sets)
"""The five that TensorFlow's converter has a switch for."""

IO_TYPES: Final = ("int8", "float")


def find_scheme(name: str) -> Scheme:
    """A scheme by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SCHEMES:
        known = ("auto", *SCHEMES)
        raise ConfigError(f"scheme {name!r} is none of {', '.join(known)}{nearest(name, known)}")
    return SCHEMES[name]


def check_applied(tflite: bytes, scheme: Scheme, io: str) -> None:
    """Object to a file that is not what its scheme says.

    Args:
        tflite: what the converter gave.
        scheme: what it was asked for.
        io: "float" or "int8", what was asked of input and output.

    Raises:
        ConversionError: a Flex or custom operator, an input or output of another type,
            or weights that were left as they were.
    """
    graph = read_graph(tflite, scheme.name)
    flex = sorted({name for name in graph.operators if name.startswith("Flex")})
    if flex:
        raise ConversionError(
            f"{scheme.name}: {', '.join(flex)} would need TensorFlow on the device"
        )
    wanted = scheme.activation_dtype if scheme.activation_dtype and io == "int8" else "float32"
    for tensor in (*graph.inputs, *graph.outputs):
        if tensor.dtype != wanted:
            raise ConversionError(
                f"{scheme.name}: {tensor.name!r} is {tensor.dtype}, not {wanted}; the converter "
                "fell back silently, so this file is not what it would be called"
            )
    if scheme.name == "mixed":
        _check_mixed(tflite)
    else:
        _check_weights(read_weights(tflite), scheme)


def _check_mixed(tflite: bytes) -> None:
    """Some operators must be in int8 and some in float, or it is another scheme."""
    kinds = read_activations(tflite)
    if not {"int8", "float32"} <= kinds:
        raise ConversionError(
            f"mixed: every operator gives {' or '.join(sorted(kinds))}; nothing is mixed in it"
        )


def _check_weights(weights: Weights, scheme: Scheme) -> None:
    if scheme.weights == "float32" or (not weights.total and scheme.activation_dtype):
        return
    if not weights.total:
        raise ConversionError(f"{scheme.name}: the model has no weights that it could make smaller")
    # Biases and norms stay wide; a kernel too small to be worth it may too.
    share = weights.elements.get(scheme.weights, 0) / weights.total
    if share < 0.5:
        held = ", ".join(f"{count} {kind}" for kind, count in weights.elements.items())
        raise ConversionError(
            f"{scheme.name}: the converter left the weights as they were ({held}); "
            "this model has nothing that the scheme could make smaller"
        )
