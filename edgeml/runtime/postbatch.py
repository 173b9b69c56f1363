"""Answers for a whole batch: what numpy can do once for all rows is not done row by row.

Integer outputs become real numbers in one operation, and so do the scores of a
classifier; what is left for each row is a few numbers of Python's own. Each
answer is the one that the row by itself would get.
"""

from collections.abc import Callable, Sequence

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import Answer, Outputs
from edgeml.runtime.postprocess import activation_of, build, chooser
from edgeml.runtime.tensors import TensorSpec, decoder

Many = Callable[[Sequence[Array], Floats], list[Answer]]
"""From the raw outputs and the preprocessed windows of a batch to its answers."""


def build_many(spec: OutputSpec, outputs: Outputs) -> Many:
    """The function that turns a batch of outputs into answers.

    Args:
        spec: from the manifest, already accepted by `build`.
        outputs: what is known of the model's tensors.
    """
    decoders = [decoder(tensor) for tensor in outputs.tensors]
    if (
        spec.task in ("classification", "multilabel")
        and len(spec.labels) == outputs.tensors[0].size
    ):
        return _scored(spec, outputs, decoders[0])
    one = build(spec, outputs._replace(tensors=tuple(map(_real, outputs.tensors))))

    def many(raw: Sequence[Array], x: Floats) -> list[Answer]:
        real = [decode(array) for decode, array in zip(decoders, raw, strict=True)]
        return [one([array[i : i + 1] for array in real], row) for i, row in enumerate(x)]

    return many


def _scored(spec: OutputSpec, outputs: Outputs, decode: Callable[[Array], Floats]) -> Many:
    default = "softmax" if spec.task == "classification" else "sigmoid"
    options = Fields(spec.postprocess or {}, "manifest.outputs.postprocess", ManifestError)
    activate = activation_of(options, outputs, default)
    choose = chooser(spec)

    def many(raw: Sequence[Array], x: Floats) -> list[Answer]:
        scores = activate(decode(raw[0]).reshape(len(x), -1))
        return [choose(tuple(row)) for row in scores.tolist()]

    return many


def _real(tensor: TensorSpec) -> TensorSpec:
    """The tensor after its numbers have become real ones."""
    return tensor._replace(dtype=np.dtype(np.float32), scale=tensor.scale[:0])
