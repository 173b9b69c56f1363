"""Weights in four bits, by the AI Edge Quantizer; activations and arithmetic stay float.

Each kernel is held as int4 with a scale for each output channel and turned back
into floats before it is used: an eighth of the size, at the cost of a float
model. LiteRT runs such files. tflite-runtime 2.14 does not: it refuses a
DEQUANTIZE of int4, and of the quantizer's other form, in which kernels are given
to integer operators as they are, it computes NaN without an error. That is why
only this form is made, and why its bundle asks for a later runtime.
"""

import contextlib
import io
from typing import Any

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.lite import quiet_converter


def convert_int4(float_tflite: bytes) -> bytes:
    """The flatbuffer, unchecked.

    Args:
        float_tflite: a float file.

    Raises:
        ConversionError: the quantizer refuses the model.
        MissingDependencyError: it is not installed.
    """
    quantizer, recipe = _quantizer()
    with quiet_converter(), contextlib.redirect_stdout(io.StringIO()):
        try:
            made = quantizer.Quantizer(
                bytearray(float_tflite), recipe.weight_only_wi4_afp32()
            ).quantize()
            return bytes(made.quantized_model)
        except Exception as exc:
            detail = " ".join(str(exc).split())[:300] or type(exc).__name__
            raise ConversionError(f"int4: the quantizer refuses the model: {detail}") from exc


def _quantizer() -> tuple[Any, Any]:
    try:
        with quiet_converter():
            from ai_edge_quantizer import quantizer, recipe
    except ImportError as exc:
        raise MissingDependencyError(
            f"int4 needs the AI Edge Quantizer ({exc}): pip install 'edgeml-converters[int4]'"
        ) from exc
    return quantizer, recipe
