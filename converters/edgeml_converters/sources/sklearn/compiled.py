"""What an estimator compiles to: a transformer to a `Stage`, a predictor to a `Head`.

Both hold a function that builds their part of the TensorFlow graph from a row,
float32 (1, features). A head also names the scikit-learn method that it is held
to, which makes scikit-learn itself the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Tensor = Any
"""A TensorFlow tensor; TensorFlow ships no types."""
Build = Callable[[Any, Tensor], Tensor]
"""(the tensorflow module, (1, n) float32) to (1, m) float32."""
Finish = Callable[[Wide], Wide]
"""What scikit-learn's method gave, to (n, outputs)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A transformer in which each output depends on one input and never falls as it rises.

    Such a one can be taken out of the graph and into the thresholds behind it.

    Attributes:
        source: for each output column, the input column it comes from.
        apply: values (n,) of these output columns' inputs and the output columns
            (n,) to what scikit-learn makes of them, in float64, to the bit.
    """

    source: npt.NDArray[np.intp]
    apply: Callable[[Wide, npt.NDArray[np.intp]], Wide]


@dataclass(frozen=True, slots=True)
class Stage:
    """A transformer, compiled.

    Attributes:
        given: how many columns it takes.
        width: how many columns it gives.
        build: its graph.
        columns: set where it works column by column.
    """

    given: int
    width: int
    build: Build
    columns: Columns | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A predictor, compiled.

    Attributes:
        method: of scikit-learn, which the outputs are held to.
        width: how many outputs.
        build: its graph, from the columns in front of it.
        finish: makes of the method's result what the outputs are.
        classes: the classifier's own, in the order of the outputs.
        trees: whether thresholds decide, which no quantisation may move.
        notes: what its user should know.
        task: a manifest's, where it is neither classification nor regression.
        threshold: the score from which the estimator itself speaks of an anomaly or a label.
    """

    method: str
    width: int
    build: Build
    finish: Finish
    classes: tuple[str, ...] = ()
    trees: bool = False
    notes: tuple[str, ...] = ()
    task: str = ""
    threshold: float | None = None


def as_is(result: Wide) -> Wide:
    """Rows of outputs already; a vector becomes one column."""
    rows: Wide = result.reshape(len(result), -1)
    return rows


def both_sides(result: Wide) -> Wide:
    """A binary decision d as the two columns -d and d, whose larger one is the class."""
    return np.stack([-result, result], axis=1) if result.ndim == 1 else result


def negated(result: Wide) -> Wide:
    """Minus the result, as rows."""
    return -as_is(result)


def names(estimator: Any) -> tuple[str, ...]:
    """The classes, as labels: 1.0 is "1", as a person and a table of labels write it."""
    classes = np.asarray(estimator.classes_)
    if classes.dtype.kind == "f" and (classes == np.rint(classes)).all():
        classes = classes.astype(np.int64)
    return tuple(str(one) for one in classes)


def several_labels(estimator: Any) -> bool:
    """Whether a classifier was trained to say of each label by itself whether it holds."""
    binarizer = getattr(estimator, "_label_binarizer", None)
    return str(getattr(binarizer, "y_type_", "")).startswith("multilabel")


def dense(weights: npt.ArrayLike, bias: npt.ArrayLike) -> Build:
    """X times weights plus bias.

    Args:
        weights: (inputs, outputs).
        bias: (outputs,).
    """
    kernel, offset = np.asarray(weights, np.float32), np.asarray(bias, np.float32)

    def build(tf: Any, x: Tensor) -> Tensor:
        return tf.matmul(x, kernel) + offset

    return build


def chained(*parts: Build) -> Build:
    """One after another."""

    def build(tf: Any, x: Tensor) -> Tensor:
        for part in parts:
            x = part(tf, x)
        return x

    return build


def softmax(tf: Any, x: Tensor) -> Tensor:
    """Logits to probabilities."""
    return tf.nn.softmax(x)


def two_logits(weights: npt.ArrayLike, bias: npt.ArrayLike) -> tuple[Wide, Wide]:
    """A binary classifier's logit z as the pair 0 and z, whose softmax holds the sigmoid of z.

    Args:
        weights: (inputs, 1).
        bias: (1,).
    """
    kernel, offset = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    return np.hstack([np.zeros_like(kernel), kernel]), np.hstack([np.zeros_like(offset), offset])
