"""Single trees and the ensembles that average them."""

from typing import Any

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import (
    Head,
    Stage,
    Tensor,
    as_is,
    names,
    negated,
)
from edgeml_converters.sources.sklearn.folding import Fronted, in_front
from edgeml_converters.sources.sklearn.trees import Tree, tree_of
from edgeml_converters.sources.sklearn.walk import leaf_values


def tree_classifier(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """DecisionTreeClassifier, ExtraTreeClassifier."""
    return _classifier(estimator, [estimator], stages)


def forest_classifier(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """RandomForestClassifier, ExtraTreesClassifier."""
    return _classifier(estimator, list(estimator.estimators_), stages)


def tree_regressor(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """DecisionTreeRegressor, ExtraTreeRegressor."""
    return _regressor(estimator, [estimator], stages)


def forest_regressor(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """RandomForestRegressor, ExtraTreesRegressor."""
    return _regressor(estimator, list(estimator.estimators_), stages)


def _classifier(estimator: Any, members: list[Any], stages: tuple[Stage, ...]) -> Fronted:
    if estimator.n_outputs_ != 1:
        raise ConversionError(
            f"{type(estimator).__name__} answers {estimator.n_outputs_} questions at once; train "
            "one model for each"
        )
    trees = [tree_of(one, one.tree_.value[:, 0, :]) for one in members]
    build, rest = _averaged(trees, estimator, stages)
    width = trees[0].value.shape[1]
    labels = names(estimator)
    return Fronted(Head("predict_proba", width, build, as_is, labels, trees=True), rest)


def _regressor(estimator: Any, members: list[Any], stages: tuple[Stage, ...]) -> Fronted:
    trees = [tree_of(one) for one in members]
    build, rest = _averaged(trees, estimator, stages)
    return Fronted(Head("predict", trees[0].value.shape[1], build, as_is, trees=True), rest)


def _averaged(trees: list[Tree], estimator: Any, stages: tuple[Stage, ...]) -> Any:
    table, rest = in_front(trees, stages, int(estimator.n_features_in_), single=True)

    def build(tf: Any, x: Tensor) -> Tensor:
        # The sum first: votes of pure leaves stay whole numbers, and ties stay ties.
        said = leaf_values(tf, x, table)
        return tf.reduce_sum(said, 0, keepdims=True) / np.float32(len(trees))

    return build, rest


def isolation_forest(estimator: Any, stages: tuple[Stage, ...]) -> Fronted:
    """IsolationForest: minus score_samples, so that more is more unusual.

    The score is 2 to the power of minus the mean depth over that of a random
    tree; a depth counts what a leaf still holds as the tree it could have become.
    """
    trees = []
    for one, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        depth = _path_lengths(one.tree_)
        trees.append(tree_of(one, depth.reshape(-1, 1), columns))
    table, rest = in_front(trees, stages, int(estimator.n_features_in_), single=True)
    usual = len(trees) * float(_random_depth(np.array([estimator.max_samples_]))[0])
    # A forest that saw one sample knows nothing: scikit-learn calls its exponent 1.
    factor = np.float32(-np.log(2) / usual if usual else 0)
    offset = np.float32(0 if usual else -np.log(2))

    def build(tf: Any, x: Tensor) -> Tensor:
        depth = tf.reduce_sum(leaf_values(tf, x, table), 0, keepdims=True)
        return tf.exp(depth * factor + offset)

    threshold = -float(estimator.offset_)
    head = Head(
        "score_samples",
        1,
        build,
        negated,
        trees=True,
        notes=(f"IsolationForest gives minus score_samples; its threshold is {threshold:.6g}",),
        task="anomaly",
        threshold=threshold,
    )
    return Fronted(head, rest)


def _path_lengths(tree: Any) -> Any:
    """The depth of each node, from 0, and what its samples would go on to."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if node < child < tree.node_count:
                depth[child] = depth[node] + 1
    return depth + _random_depth(np.asarray(tree.n_node_samples))


def _random_depth(samples: Any) -> Any:
    """The mean depth of a leaf in a random binary tree of so many samples (Liu et al., 2008)."""
    n = np.asarray(samples, np.float64)
    wide = np.maximum(n, 3)
    long = 2 * (np.log(wide - 1) + np.euler_gamma) - 2 * (wide - 1) / wide
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, long))
