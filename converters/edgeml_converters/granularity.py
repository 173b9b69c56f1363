"""Fits a model with dense layers into a size: a scale for each output only where it pays.

Quantised from the same ranges, the file with one scale a dense layer and the
file with one for each output differ in nothing but those layers' weights,
biases and scales. So layers can be carried over one by one, the one that lowers
the error most for each byte first, while the file stays within its size.
"""

import copy
from collections.abc import Callable
from typing import Any, Final

from edgeml_converters.inspection import pack_model, unpack_model
from edgeml_converters.slim import slim

_FULLY_CONNECTED: Final = 9


def fit_to_size(
    coarse: bytes, fine: bytes, max_bytes: int, error: Callable[[bytes], float]
) -> bytes:
    """The best mixture of two files that is no larger than `max_bytes`, by greedy choice.

    Args:
        coarse: one scale a dense layer.
        fine: one scale for each output of a dense layer; the same graph.
        max_bytes: what the file may take; `coarse` is returned where even it is larger.
        error: of a file, against the float model.

    Raises:
        ConversionError: a file cannot be read.
    """
    mixed, source = unpack_model(coarse), unpack_model(fine)
    pending = _dense_layers(source)
    best, best_error = slim(coarse), error(coarse)
    while pending:
        gains = []
        for layer in pending:
            tried = copy.deepcopy(mixed)
            _carry_over(tried, source, layer)
            file = slim(pack_model(tried))
            if len(file) <= max_bytes and (now := error(file)) < best_error:
                paid = max(len(file) - len(best), 1)
                gains.append(((best_error - now) / paid, layer, file, now))
        if not gains:
            break
        _, chosen, best, best_error = max(gains, key=lambda gain: gain[0])
        _carry_over(mixed, source, chosen)
        pending.remove(chosen)
    return best


def _dense_layers(model: Any) -> list[int]:
    operators = model.subgraphs[0].operators
    codes = model.operatorCodes
    return [
        i
        for i, operator in enumerate(operators)
        if codes[operator.opcodeIndex].builtinCode == _FULLY_CONNECTED
    ]


def _carry_over(into: Any, source: Any, layer: int) -> None:
    """Give one layer the other file's weights, bias and scales."""
    ours, theirs = into.subgraphs[0], source.subgraphs[0]
    for mine, other in zip(
        ours.operators[layer].inputs[1:], theirs.operators[layer].inputs[1:], strict=True
    ):
        if mine < 0:
            continue
        ours.tensors[mine].quantization = theirs.tensors[other].quantization
        data = source.buffers[theirs.tensors[other].buffer].data
        into.buffers[ours.tensors[mine].buffer].data = data


__all__ = ["fit_to_size"]
