"""Answers for a whole batch: what can be done once for all rows is not done row by row.

Integer outputs become real numbers in one operation, and so do a classifier's
scores and labels; results are then put together from columns without a line of
Python for each. Each answer is the one that the row by itself would get.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.result import ModelRef, Result
from edgeml.runtime.outputs import Answer, Outputs
from edgeml.runtime.postprocess import activation_of, build, chooser, least_score
from edgeml.runtime.tensors import TensorSpec, decoder

_new: Final = tuple.__new__


class Columns(NamedTuple):
    """The answers for some windows: all labels, all scores, all outputs."""

    labels: Iterable[str | None]
    scores: Iterable[float]
    outputs: Iterable[tuple[float, ...]]

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Columns":
        """From answers row by row."""
        return cls(*zip(*answers, strict=True)) if answers else cls((), (), ())


Many = Callable[[Sequence[Array], Floats], Columns]
"""From the raw outputs and the preprocessed windows of a batch to its answers."""


def results(ref: ModelRef, columns: Columns, times: tuple[float, float, float]) -> Iterator[Result]:
    """A result for each row; all have the same times."""
    heads = repeat(ref), repeat(0.0), repeat(0.0)
    rows = zip(*heads, *columns, *map(repeat, times), strict=False)  # the columns are the end
    return map(_new, repeat(Result), rows)


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

    def many(raw: Sequence[Array], x: Floats) -> Columns:
        real = [decode(array) for decode, array in zip(decoders, raw, strict=True)]
        return Columns.of(
            [one([array[i : i + 1] for array in real], row) for i, row in enumerate(x)]
        )

    return many


def _scored(spec: OutputSpec, outputs: Outputs, decode: Callable[[Array], Floats]) -> Many:
    default = "softmax" if spec.task == "classification" else "sigmoid"
    options = Fields(spec.postprocess or {}, "manifest.outputs.postprocess", ManifestError)
    activate = activation_of(options, outputs, default)
    choose, labels, threshold = chooser(spec), spec.labels, least_score(spec)

    def many(raw: Sequence[Array], x: Floats) -> Columns:
        scores = activate(decode(raw[0]).reshape(len(x), -1))
        rows = map(tuple, scores.tolist())
        if not np.isfinite(scores).all():
            return Columns.of(list(map(choose, rows)))
        best = scores.max(axis=1).tolist()
        names: Iterable[str | None] = map(labels.__getitem__, scores.argmax(axis=1).tolist())
        if best and min(best) < threshold:
            pairs = zip(names, best, strict=True)
            names = [name if score >= threshold else None for name, score in pairs]
        return Columns(names, best, rows)

    return many


def _real(tensor: TensorSpec) -> TensorSpec:
    """The tensor after its numbers have become real ones."""
    return tensor._replace(dtype=np.dtype(np.float32), scale=tensor.scale[:0])
