"""Weights in fewer bits, by the AI Edge Quantizer; activations and arithmetic stay float.

Of int4 each kernel is held with a scale for each output channel and turned back
into floats before it is used: an eighth of the size, at the cost of a float
model. LiteRT runs such files. tflite-runtime 2.14 does not: it refuses a
DEQUANTIZE of int4, and of the quantizer's other form, in which kernels are given
to integer operators as they are, it computes NaN without an error. That is why
only this form is made, and why its bundle asks for a later runtime.
"""

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.lite import quiet_converter


def convert_weights(tflite: bytes, scheme: str) -> bytes:
    """A float .tflite with smaller weights, unchecked.

    Args:
        tflite: from `modern.modernised`.
        scheme: "float16", "dynamic" or "int4".

    Raises:
        ConversionError: the quantizer refuses the model.
        MissingDependencyError: it is not installed.
    """
    try:
        with quiet_converter():
            from ai_edge_quantizer import quantizer
    except ImportError as exc:
        raise MissingDependencyError(
            f"{scheme} needs the AI Edge Quantizer here ({exc}): "
            "pip install 'edgeml-converters[int4]'"
        ) from exc
    with quiet_converter(), contextlib.redirect_stdout(io.StringIO()):
        try:
            maker = quantizer.Quantizer(bytearray(tflite))
            _SETTINGS[scheme](maker)
            return bytes(maker.quantize().quantized_model)
        except Exception as exc:
            detail = " ".join(str(exc).split())[:300] or type(exc).__name__
            raise ConversionError(f"{scheme}: the quantizer refuses the model: {detail}") from exc


def _dynamic(maker: Any) -> None:
    from ai_edge_quantizer import recipe

    maker.load_quantization_recipe(recipe.dynamic_wi8_afp32())


def _int4(maker: Any) -> None:
    from ai_edge_quantizer import recipe

    maker.load_quantization_recipe(recipe.weight_only_wi4_afp32())


def _float16(maker: Any) -> None:
    from ai_edge_quantizer import algorithm_manager, qtyping

    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    maker.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )


_SETTINGS: Final[Mapping[str, Callable[[Any], None]]] = {
    "dynamic": _dynamic,
    "float16": _float16,
    "int4": _int4,
}
