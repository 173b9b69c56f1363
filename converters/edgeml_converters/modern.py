"""Brings a float .tflite of any age and maker to the form that quantisers read rightly.

Two things make them do nothing, without a word. Files from before TensorFlow
2.4 name their operators in a byte that the AI Edge Quantizer does not read: to
it every operator is number 0, an ADD. And litert-torch marks its files so that
TensorFlow's quantiser takes their weights for constants of StableHLO, which it
leaves alone. A third makes the AI Edge Quantizer fail: tensors without a name,
as in every file that `slim` has been at.
"""

import contextlib
import io
from typing import Any, Final

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.inspection import pack_model, unpack_model
from edgeml_converters.lite import quiet_converter

_STABLEHLO: Final = b"keep_stablehlo_constant"


def modernised(tflite: bytes) -> bytes:
    """The same model; the bytes as they are where there is nothing to mend.

    Raises:
        ConversionError: the file cannot be read.
    """
    model = unpack_model(tflite)
    kept = [entry for entry in model.metadata or () if entry.name != _STABLEHLO]
    old = [code for code in model.operatorCodes if code.builtinCode < code.deprecatedBuiltinCode]
    tensors = [one for graph in model.subgraphs for one in graph.tensors]
    nameless = any(not tensor.name for tensor in tensors)
    if not old and not nameless and len(kept) == len(model.metadata or ()):
        return tflite
    for i, tensor in enumerate(tensors):
        tensor.name = tensor.name or f"tensor_{i}".encode()
    for code in old:
        code.builtinCode = code.deprecatedBuiltinCode
    model.metadata = kept
    return pack_model(model)


def convert_weights(tflite: bytes, scheme: str) -> bytes:
    """A float .tflite with smaller weights, unchecked, by the AI Edge Quantizer.

    Args:
        tflite: from `modernised`.
        scheme: "float16" or "dynamic".

    Raises:
        ConversionError: the quantizer refuses the model.
        MissingDependencyError: it is not installed.
    """
    try:
        with quiet_converter():
            from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe
    except ImportError as exc:
        raise MissingDependencyError(
            f"{scheme}: from a .tflite it needs the AI Edge Quantizer ({exc}): "
            "pip install 'edgeml-converters[int4]'"
        ) from exc
    with quiet_converter(), contextlib.redirect_stdout(io.StringIO()):
        try:
            if scheme == "dynamic":
                maker = quantizer.Quantizer(bytearray(tflite), recipe.dynamic_wi8_afp32())
            else:
                maker = quantizer.Quantizer(bytearray(tflite))
                half = qtyping.TensorQuantizationConfig(
                    num_bits=16, dtype=qtyping.TensorDataType.FLOAT
                )
                maker.update_quantization_recipe(
                    regex=".*",
                    operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
                    op_config=qtyping.OpQuantizationConfig(
                        weight_tensor_config=half,
                        compute_precision=qtyping.ComputePrecision.FLOAT,
                    ),
                    algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
                )
            made: Any = maker.quantize().quantized_model
            return bytes(made)
        except Exception as exc:
            detail = " ".join(str(exc).split())[:300] or type(exc).__name__
            raise ConversionError(f"{scheme}: the quantizer refuses the model: {detail}") from exc
