"""What turns a model's raw outputs into scores where the file does not: softmax, sigmoid, top-k."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from edgeml.arrays import Floats


def softmax(logits: Floats) -> Floats:
    """exp(x) / sum(exp(x)) along the last axis, shifted by the largest so that none overflows."""
    shifted = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))
    result: Floats = shifted / np.add.reduce(shifted, axis=-1, keepdims=True)
    return result


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), by way of tanh, which does not overflow."""
    half = np.float32(0.5)
    result: Floats = half * (np.float32(1) + np.tanh(half * logits))
    return result


def unchanged(values: Floats) -> Floats:
    """For a file whose last operator makes scores already."""
    return values


ACTIVATIONS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": unchanged,
}


def top_k(
    scores: Sequence[float], labels: Sequence[str], k: int = 5
) -> tuple[tuple[str, float], ...]:
    """The `k` best labels with their scores, best first; of equal ones the first named first."""
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:k]
    return tuple((labels[i], scores[i]) for i in best)
