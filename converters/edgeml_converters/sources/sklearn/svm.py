"""Support vector machines: kernels against the support vectors, one against one.

Vectors are centred before they are multiplied: |x - s|² out of x·s loses its
digits where all values are large and close together.
"""

from itertools import combinations
from typing import Any

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import (
    Build,
    Head,
    Tensor,
    Wide,
    as_is,
    both_sides,
    chained,
    dense,
    names,
    negated,
)

KERNELS = ("linear", "rbf", "poly", "sigmoid")


def regressor(estimator: Any) -> Head:
    """SVR, NuSVR."""
    weights = np.asarray(_solid(estimator.dual_coef_)).T
    return Head("predict", 1, _machine(estimator, weights, estimator.intercept_), as_is)


def one_class(estimator: Any) -> Head:
    """OneClassSVM: minus decision_function, so that more is more unusual, from 0 on."""
    weights = np.asarray(_solid(estimator.dual_coef_)).T
    build = _machine(estimator, -weights, -np.asarray(estimator.intercept_))
    return Head(
        "decision_function",
        1,
        build,
        negated,
        notes=("OneClassSVM gives minus decision_function; its threshold is 0",),
        task="anomaly",
        threshold=0.0,
    )


def classifier(estimator: Any) -> Head:
    """SVC, NuSVC: decision_function, and its largest value is what predict() says.

    Among more than two classes every pair votes, and in decision_function how sure
    they are breaks ties. predict() does so with break_ties=True alone, and else takes
    the first of the tied: that one is raised above the others, in such rows only.
    """
    count = len(estimator.classes_)
    labels, notes = names(estimator), _notes(estimator)
    weights, bias = _pairs(estimator, count)
    if count == 2:
        sides = np.hstack([-weights, weights]), np.hstack([-bias, bias])
        build = _machine(estimator, *sides)
        return Head("decision_function", 2, build, both_sides, labels, notes=notes)
    if estimator.decision_function_shape != "ovr":
        raise ConversionError(
            f"{type(estimator).__name__} has decision_function_shape "
            f"{estimator.decision_function_shape!r}, one value for each pair of classes; set it to "
            "'ovr' (no training needed), which gives one for each class"
        )
    build = chained(_machine(estimator, weights, bias), _votes(count))
    if estimator.break_ties:
        return Head("decision_function", count, build, as_is, labels, notes=notes)
    build = chained(build, _first_of_tied)
    return Head("decision_function", count, build, _first_of_tied_rows, labels, notes=notes)


def _pairs(estimator: Any, count: int) -> tuple[Wide, Wide]:
    """(vectors, pairs): what each support vector says in each pair of classes; and the offsets.

    scikit-learn keeps, for each vector, a coefficient against each other class.
    """
    dual = np.asarray(_solid(estimator.dual_coef_), np.float64)
    bias = np.asarray(estimator.intercept_, np.float64)
    if count == 2:
        return dual.T, bias
    ends = np.cumsum(np.concatenate([[0], estimator.n_support_]))
    pairs = list(combinations(range(count), 2))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for column, (first, second) in enumerate(pairs):
        one, other = slice(ends[first], ends[first + 1]), slice(ends[second], ends[second + 1])
        weights[one, column] = dual[second - 1, one]
        weights[other, column] = dual[first, other]
    return weights, bias


def _votes(count: int) -> Build:
    """From one value a pair to one a class: its votes, and a third at most for its sureness."""
    pairs = list(combinations(range(count), 2))
    side = np.zeros((len(pairs), count), np.float32)
    for row, (first, second) in enumerate(pairs):
        side[row, first], side[row, second] = 1, -1
    starts = (side > 0).sum(0).astype(np.float32)

    def build(tf: Any, decisions: Tensor) -> Tensor:
        lost = tf.cast(decisions < 0, tf.float32)
        votes = starts - tf.matmul(lost, side)
        sure = tf.matmul(decisions, side)
        return votes + sure / (3 * (tf.abs(sure) + 1))

    return build


def _first_of_tied(tf: Any, x: Tensor) -> Tensor:
    """Raise the first class among those with the most votes, where there are several."""
    votes = tf.round(x)  # how sure the pairs are counts less than a third
    most = tf.reduce_max(votes, 1, keepdims=True)
    tied = tf.reduce_sum(tf.cast(votes >= most, tf.float32), 1, keepdims=True) > 1
    first = tf.one_hot(tf.argmax(votes, 1, tf.int32), x.shape[1])
    return x + first * tf.cast(tied, tf.float32)


def _first_of_tied_rows(decisions: Wide) -> Wide:
    """The same of scikit-learn's decision_function."""
    votes = np.round(decisions)
    tied = (votes == votes.max(1, keepdims=True)).sum(1) > 1
    raised: Wide = decisions.copy()
    raised[np.flatnonzero(tied), votes.argmax(1)[tied]] += 1
    return raised


def _machine(estimator: Any, weights: Wide, bias: Wide) -> Build:
    """The kernel with every support vector, times weights, plus bias.

    Args:
        estimator: fitted.
        weights: (vectors, outputs).
        bias: (outputs,).
    """
    vectors = np.asarray(_solid(estimator.support_vectors_), np.float64)
    kind = estimator.kernel
    if kind not in KERNELS:
        raise ConversionError(
            f"{type(estimator).__name__} has the kernel {kind!r}; compiled are {', '.join(KERNELS)}"
        )
    if len(vectors) != int(np.sum(estimator.n_support_)):
        raise ConversionError("the support vectors do not fit n_support_; is the file damaged?")
    if kind == "linear":  # no need of the vectors themselves
        return dense(vectors.T @ weights, bias)
    answer = dense(weights, bias)
    gamma = float(estimator._gamma)  # noqa: SLF001
    if kind == "rbf":
        return chained(_rbf(vectors, gamma), answer)
    product = dense(gamma * vectors.T, np.full(len(vectors), estimator.coef0))
    if kind == "sigmoid":
        return chained(product, lambda tf, x: tf.tanh(x), answer)
    degree = int(estimator.degree)
    return chained(product, lambda tf, x: _power(tf, x, degree), answer)


def _rbf(vectors: Wide, gamma: float) -> Build:
    middle = vectors.mean(0).astype(np.float32)
    centred = vectors - middle
    product = dense(2 * gamma * centred.T, -gamma * (centred**2).sum(1))
    factor = np.float32(gamma)

    def build(tf: Any, x: Tensor) -> Tensor:
        away = x - middle
        own = tf.reduce_sum(away * away, 1, keepdims=True) * factor
        return tf.exp(product(tf, away) - own)

    return build


def _power(tf: Any, x: Tensor, degree: int) -> Tensor:
    """By multiplication, since TFLite's POW is slow and takes no negative base everywhere."""
    result = tf.ones_like(x) if degree == 0 else x
    for _ in range(degree - 1):
        result = result * x
    return result


def _notes(estimator: Any) -> tuple[str, ...]:
    if not getattr(estimator, "probability", False) or estimator.probability == "deprecated":
        return ()
    note = (
        f"{type(estimator).__name__} gives decision_function, which predict() follows, not "
        "predict_proba, which may disagree with it"
    )
    return (note,)


def _solid(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix
