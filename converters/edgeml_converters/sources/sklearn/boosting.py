"""Gradient boosting: sums of trees, and the link from the sum to an answer."""

from typing import Any

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import (
    Build,
    Finish,
    Head,
    Stage,
    Tensor,
    Wide,
    as_is,
    both_sides,
    names,
)
from edgeml_converters.sources.sklearn.folding import Fronted, in_front
from edgeml_converters.sources.sklearn.trees import Tree, tree_of, tree_of_predictor
from edgeml_converters.sources.sklearn.walk import leaf_values


def gradient_boosting(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """GradientBoostingClassifier and GradientBoostingRegressor."""
    start = _start(estimator)
    rate = float(estimator.learning_rate)
    trees = [tree_of(one, one.tree_.value[:, 0, :] * rate) for one in estimator.estimators_.ravel()]
    return _boosted(estimator, trees, start, stages, single=True)


def hist_gradient_boosting(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """HistGradientBoostingClassifier and HistGradientBoostingRegressor."""
    if getattr(estimator, "_preprocessor", None) is not None:
        raise ConversionError(
            f"{type(estimator).__name__} was trained on categories, which are not compiled; encode "
            "them as columns of 0 and 1 and train with categorical_features=None"
        )
    features = int(estimator.n_features_in_)
    # The attribute has no public name; it is what predict() itself walks.
    trees = [
        tree_of_predictor(one.nodes, features)
        for step in estimator._predictors  # noqa: SLF001
        for one in step
    ]
    start = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)  # noqa: SLF001
    return _boosted(estimator, trees, start, stages, single=False)


def _start(estimator: Any) -> Wide:
    """The sum before the first tree."""
    init = estimator.init_
    constant = init == "zero" or type(init).__name__ in ("DummyClassifier", "DummyRegressor")
    if not constant:
        raise ConversionError(
            f"{type(estimator).__name__} starts from a {type(init).__name__}; only init=None and "
            "init='zero' are compiled"
        )
    row = np.zeros((1, int(estimator.n_features_in_)), np.float32)
    start: Wide = estimator._raw_predict_init(row)  # noqa: SLF001
    return start.reshape(-1)


def _boosted(
    estimator: Any, trees: list[Tree], start: Wide, stages: tuple[Stage, ...], *, single: bool
) -> Fronted:
    table, rest = in_front(trees, stages, int(estimator.n_features_in_), single=single)
    count = len(start)
    offset = start.astype(np.float32)

    def total(tf: Any, x: Tensor) -> Tensor:
        said = tf.reshape(leaf_values(tf, x, table), [-1, count])
        return tf.reduce_sum(said, 0, keepdims=True) + offset

    if hasattr(estimator, "classes_"):
        method, link, finish = _classes(estimator, count)
        labels = names(estimator)
    else:
        name = type(estimator._loss.link).__name__  # noqa: SLF001
        if name not in _LINKS:
            raise ConversionError(f"{type(estimator).__name__} has the link {name}")
        method, link, finish = "predict", _LINKS[name], as_is
        labels = ()
    width = max(count, 2) if labels else 1

    def build(tf: Any, x: Tensor) -> Tensor:
        return link(tf, total(tf, x))

    return Fronted(Head(method, width, build, finish, labels, trees=True), rest)


def _identity(_: Any, raw: Tensor) -> Tensor:
    return raw


def _exponential(tf: Any, raw: Tensor) -> Tensor:
    return tf.exp(raw)


_LINKS: dict[str, Build] = {"IdentityLink": _identity, "LogLink": _exponential}


def _classes(estimator: Any, count: int) -> tuple[str, Build, Finish]:
    """From the raw sums to probabilities: the loss's own sigmoid or softmax."""
    if count > 1:
        return "predict_proba", lambda tf, raw: tf.nn.softmax(raw), as_is
    # The exponential loss counts half: its probability is the sigmoid of twice the sum.
    factor = np.float32(2 if type(estimator._loss).__name__ == "ExponentialLoss" else 1)  # noqa: SLF001

    def binary(tf: Any, raw: Tensor) -> Tensor:
        return tf.nn.softmax(tf.concat([tf.zeros_like(raw), raw * factor], 1))

    return "predict_proba", binary, both_sides
