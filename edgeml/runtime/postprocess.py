"""From a model's output tensors to a label, a score and numbers: one function for each task.

Everything that can be wrong with labels, shapes and options is found while
loading; what is left for a window is arithmetic on a few numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError, nearest
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import (
    Answer,
    Outputs,
    Postprocess,
    byte_table,
    flat_decoder,
    joined_decoder,
    number_decoder,
)


def build(spec: OutputSpec, outputs: Outputs) -> Postprocess:
    """The function that turns a model's outputs into an answer.

    Args:
        spec: from the manifest.
        outputs: what is known of the model's tensors.

    Raises:
        ManifestError: labels, threshold or options that do not fit the model.
    """
    options = Fields(spec.postprocess or {}, "manifest.outputs.postprocess", ManifestError)
    function = TASKS[spec.task](spec, outputs, options)
    options.finish()
    return function


def _classification(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    count = outputs.tensors[0].size
    labels = spec.labels
    if count == 1 and len(labels) == 2:
        threshold = least_score(spec)
        scores = _scores(outputs, options, "sigmoid")

        def two(raw: Sequence[Array], _: Floats) -> Answer:
            (p,) = scores(raw[0])
            i, score = (1, p) if p >= 0.5 else (0, 1 - p)
            return (labels[i] if score >= threshold else None), score, (1 - p, p)

        return two
    _check_labels(labels, count)
    return _choice(spec, outputs, options, "softmax")


def _multilabel(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    _check_labels(spec.labels, outputs.tensors[0].size)
    return _choice(spec, outputs, options, "sigmoid")


def _scores(
    outputs: Outputs, options: Fields, default: str
) -> Callable[[Array], tuple[float, ...]]:
    return _scores_of(outputs, activation_of(options, outputs.final_ops[0], default))


def _scores_of(
    outputs: Outputs, activate: Callable[[Floats], Floats]
) -> Callable[[Array], tuple[float, ...]]:
    if activate is unchanged:
        return number_decoder(outputs.tensors[0])
    values = flat_decoder(outputs.tensors[0])
    return lambda raw: tuple(activate(values(raw)).tolist())


def _choice(spec: OutputSpec, outputs: Outputs, options: Fields, default: str) -> Postprocess:
    activate = activation_of(options, outputs.final_ops[0], default)
    look_up = byte_table(outputs.tensors[0])
    if look_up is not None and activate is unchanged:
        return _byte_choice(spec, look_up)
    scores = _scores_of(outputs, activate)
    choose = chooser(spec)
    return lambda raw, _: choose(scores(raw[0]))


def _byte_choice(spec: OutputSpec, look_up: Callable[[int], float]) -> Postprocess:
    """`chooser` for scores of one byte each, in one function: none of them is NaN."""
    labels, threshold = spec.labels, least_score(spec)

    def choose(raw: Sequence[Array], _: Floats) -> Answer:
        numbers = tuple(map(look_up, raw[0].tobytes()))
        score = max(numbers)
        label = labels[numbers.index(score)] if score >= threshold else None
        return label, score, numbers

    return choose


def least_score(spec: OutputSpec) -> float:
    """What a score has to reach: for one label out of several nothing, unless the manifest asks."""
    least = 0.5 if spec.task == "multilabel" else -math.inf
    return least if spec.threshold is None else spec.threshold


def chooser(spec: OutputSpec) -> Callable[[tuple[float, ...]], Answer]:
    """The best label, if it reaches the threshold; none and NaN where any score is NaN."""
    labels, threshold = spec.labels, least_score(spec)

    def choose(numbers: tuple[float, ...]) -> Answer:
        score, total = max(numbers), sum(numbers)
        if total != total:  # only NaN differs from itself, and any score that is NaN makes it so
            return None, math.nan, numbers
        label = labels[numbers.index(score)] if score >= threshold else None
        return label, score, numbers

    return choose


def active_labels(
    outputs: Sequence[float], labels: Sequence[str], threshold: float = 0.5
) -> tuple[str, ...]:
    """The labels of a multi-label result that reach the threshold, in the manifest's order."""
    return tuple(label for label, score in zip(labels, outputs, strict=True) if score >= threshold)


def top_k(
    scores: Sequence[float], labels: Sequence[str], k: int = 5
) -> tuple[tuple[str, float], ...]:
    """The `k` best labels with their scores, best first; of equal ones the first named first."""
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:k]
    return tuple((labels[i], scores[i]) for i in best)


def _regression(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    values = joined_decoder(outputs.tensors)
    scale, offset = linear_of(options)
    if spec.labels:
        _check_labels(spec.labels, sum(tensor.size for tensor in outputs.tensors))

    def regress(raw: Sequence[Array], _: Floats) -> Answer:
        numbers = tuple((values(raw) * scale + offset).tolist())
        return None, numbers[0], numbers

    def as_given(raw: Sequence[Array], _: Floats) -> Answer:
        numbers = tuple(values(raw).tolist())
        return None, numbers[0], numbers

    return as_given if scale == 1 and offset == 0 else regress


def linear_of(options: Fields) -> tuple[np.float32, np.float32]:
    """A regression's scale and offset, from the model's numbers to the unit."""
    scale = np.float32(options.number("scale", default=1.0))
    return scale, np.float32(options.number("offset", default=0.0))


def _embedding(_: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    values = joined_decoder(outputs.tensors)
    normalise = normalises(options)

    def embed(raw: Sequence[Array], _: Floats) -> Answer:
        vector = values(raw)
        norm = math.sqrt(vector.dot(vector))
        if normalise and norm > 0:
            vector = vector / np.float32(norm)
        return None, norm, tuple(vector.tolist())

    return embed


def normalises(options: Fields) -> bool:
    """Whether an embedding is scaled to length 1."""
    return options.boolean("normalise", default=False)


def _anomaly(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    from edgeml.runtime.anomaly import anomaly  # most models load without it

    return anomaly(spec, outputs, options)


def _detection(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    from edgeml.runtime.detection import detection  # most models load without it

    return detection(spec, outputs, options)


def activation_of(options: Fields, final_op: str, default: str) -> Callable[[Floats], Floats]:
    """What the manifest says, else `default` unless the file's last operator does it already."""
    name = options.optional_text("activation")
    if name is None:
        name = "none" if final_op in ("SOFTMAX", "LOGISTIC") else default
    if name not in ACTIVATIONS:
        raise ManifestError(
            f"outputs.postprocess.activation {name!r} is none of "
            f"{', '.join(ACTIVATIONS)}{nearest(name, ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def softmax(logits: Floats) -> Floats:
    """exp(x) / sum(exp(x)) along the last axis, shifted by the largest so that none overflows."""
    shifted = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))
    result: Floats = shifted / np.add.reduce(shifted, axis=-1, keepdims=True)
    return result


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-x)), by way of tanh, which does not overflow; as wide as it is given."""
    half = np.float32(0.5)
    result: Array = half * (np.float32(1) + np.tanh(half * logits))
    return result


def unchanged(values: Floats) -> Floats:
    """For a file whose last operator makes scores already."""
    return values


ACTIVATIONS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": unchanged,
}


def _check_labels(labels: Sequence[str], count: int) -> None:
    if len(labels) != count:
        raise ManifestError(
            f"outputs.labels names {len(labels)} labels but the model's output has {count} values"
        )


TASKS: Final[Mapping[str, Callable[[OutputSpec, Outputs, Fields], Postprocess]]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
    "anomaly": _anomaly,
    "detection": _detection,
    "embedding": _embedding,
}

__all__ = [
    "TASKS",
    "activation_of",
    "active_labels",
    "build",
    "chooser",
    "least_score",
    "linear_of",
    "normalises",
]
