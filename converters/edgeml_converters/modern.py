"""Brings a float .tflite of any age and maker to the form that quantisers read rightly.

Two things make them do nothing, without a word. Files from before TensorFlow
2.4 name their operators in a byte that the AI Edge Quantizer does not read: to
it every operator is number 0, an ADD. And litert-torch marks its files so that
TensorFlow's quantiser takes their weights for constants of StableHLO, which it
leaves alone. A third makes the AI Edge Quantizer fail: tensors without a name,
as in every file that `slim` has been at.
"""

from typing import Final

from edgeml_converters.inspection import pack_model, unpack_model

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
