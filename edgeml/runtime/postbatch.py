"""Answers for a whole batch: what can be done once for all rows is not done row by row.

Integer outputs become real numbers in one operation, and so do a classifier's
scores and labels. Each answer is the one that the row by itself would get.
"""

from collections.abc import Callable, Sequence

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import Outputs
from edgeml.runtime.postprocess import (
    activation_of,
    build,
    chooser,
    least_score,
    linear_of,
    normalises,
)
from edgeml.runtime.results import Answers, Choices, Rows, Values
from edgeml.runtime.tensors import TensorSpec, decoder

Decode = Callable[[Array], Floats]
Many = Callable[[Sequence[Array], Floats], Answers]
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
    if spec.task == "regression":
        return _regressed(spec, decoders)
    if spec.task == "embedding":
        return _embedded(spec, decoders)
    one = build(spec, outputs._replace(tensors=tuple(map(_real, outputs.tensors))))

    def many(raw: Sequence[Array], x: Floats) -> Answers:
        real = [decode(array) for decode, array in zip(decoders, raw, strict=True)]
        return Rows(one([array[i : i + 1] for array in real], row) for i, row in enumerate(x))

    return many


def _scored(spec: OutputSpec, outputs: Outputs, decode: Decode) -> Many:
    default = "softmax" if spec.task == "classification" else "sigmoid"
    activate = activation_of(_options(spec), outputs.final_ops[0], default)
    choose, labels, threshold = chooser(spec), spec.labels, least_score(spec)

    def many(raw: Sequence[Array], x: Floats) -> Answers:
        scores = activate(decode(raw[0]).reshape(len(x), -1))
        if not np.isfinite(scores).all():
            return Rows(map(choose, map(tuple, scores.tolist())))
        return Choices(scores, labels, threshold)

    return many


def _regressed(spec: OutputSpec, decoders: Sequence[Decode]) -> Many:
    scale, offset = linear_of(_options(spec))

    def many(raw: Sequence[Array], _: Floats) -> Answers:
        numbers = _joined(decoders, raw) * scale + offset
        return Values(numbers, numbers[:, 0])

    return many


def _embedded(spec: OutputSpec, decoders: Sequence[Decode]) -> Many:
    normalise = normalises(_options(spec))

    def many(raw: Sequence[Array], _: Floats) -> Answers:
        vectors = _joined(decoders, raw)
        # Row by row, so that the sums have the order that they have for a row by itself.
        norms = np.sqrt(np.array([vector.dot(vector) for vector in vectors], np.float64))
        if normalise:
            divisors = np.where(norms > 0, norms, 1).astype(np.float32)
            vectors = vectors / divisors[:, np.newaxis]
        return Values(vectors, norms)

    return many


def _joined(decoders: Sequence[Decode], raw: Sequence[Array]) -> Floats:
    """All outputs as real numbers, (n, values): one output after the other."""
    pairs = zip(decoders, raw, strict=True)
    parts = [decode(array).reshape(len(array), -1) for decode, array in pairs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _options(spec: OutputSpec) -> Fields:
    return Fields(spec.postprocess or {}, "manifest.outputs.postprocess", ManifestError)


def _real(tensor: TensorSpec) -> TensorSpec:
    """The tensor after its numbers have become real ones."""
    return tensor._replace(dtype=np.dtype(np.float32), scale=tensor.scale[:0])
