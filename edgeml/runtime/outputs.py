"""What postprocessing is given: the output tensors, and what is known of them beforehand."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.runtime.tensors import TensorSpec, decoder, dequantise

TABLE_LIMIT: Final = 64

Answer = tuple["str | None", float, tuple[float, ...]]
"""Label, score, outputs: see `edgeml.result.Result`."""

Postprocess = Callable[[Sequence[Array], Floats], Answer]
"""From the raw outputs and the preprocessed window to an answer."""


class Outputs(NamedTuple):
    """What is known of a model's outputs before it runs.

    Attributes:
        tensors: the outputs, in order.
        final_ops: for each the operator that computes it (see `graph.Graph`).
        final_slots: for each which of that operator's outputs it is.
        input_shape: of a preprocessed window.
    """

    tensors: tuple[TensorSpec, ...]
    final_ops: tuple[str, ...]
    final_slots: tuple[int, ...]
    input_shape: tuple[int, ...]

    @property
    def input_size(self) -> int:
        """Elements of a preprocessed window."""
        return math.prod(self.input_shape)


def flat_decoder(tensor: TensorSpec) -> Callable[[Array], Floats]:
    """From one raw output to its real numbers in one dimension."""
    decode = decoder(tensor)

    def flat(raw: Array) -> Floats:
        return decode(raw).ravel()

    return flat


def byte_table(tensor: TensorSpec) -> Callable[[int], float] | None:
    """What each byte of an output stands for, for outputs of a few labels; None for the rest.

    A byte stands for one of 256 numbers, so up to `TABLE_LIMIT` of them are
    looked up one by one: half the time of numpy's fixed cost for three operations.
    """
    byte = tensor.quantised and tensor.dtype.itemsize == 1 and tensor.scale.size == 1
    if not byte or tensor.size > TABLE_LIMIT:
        return None
    every = np.arange(256, dtype=np.uint8).view(tensor.dtype)
    numbers: list[float] = dequantise(every, tensor).tolist()
    return numbers.__getitem__


def number_decoder(tensor: TensorSpec) -> Callable[[Array], tuple[float, ...]]:
    """From one raw output to its real numbers as Python's own, for outputs of a few labels."""
    look_up = byte_table(tensor)
    if look_up is None:
        decode = decoder(tensor)
        return lambda raw: tuple(decode(raw).ravel().tolist())
    return lambda raw: tuple(map(look_up, raw.tobytes()))


def joined_decoder(tensors: Sequence[TensorSpec]) -> Callable[[Sequence[Array]], Floats]:
    """From all raw outputs to their real numbers in one dimension, one output after the other."""
    decoders = [flat_decoder(tensor) for tensor in tensors]
    if len(decoders) == 1:
        only = decoders[0]
        return lambda raw: only(raw[0])

    def joined(raw: Sequence[Array]) -> Floats:
        parts = [decode(array) for decode, array in zip(decoders, raw, strict=True)]
        result: Floats = np.concatenate(parts)
        return result

    return joined
