"""Decision trees as tables, read from scikit-learn and checked before anything walks them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import Wide

Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """One tree. Node 0 is its root, and children come after their parents.

    Attributes:
        feature: (n,) which column an inner node looks at.
        threshold: (n,) it goes left up to and including this.
        left: (n,) the child there; a leaf's is itself.
        right: (n,) the other child.
        missing_left: (n,) whether NaN goes left.
        value: (n, k) what a leaf says.
    """

    feature: Indices
    threshold: Wide
    left: Indices
    right: Indices
    missing_left: Flags
    value: Wide

    @property
    def leaf(self) -> Flags:
        """(n,) whether a node is one."""
        own: Flags = self.left == np.arange(len(self.left))
        return own


def tree_of(estimator: Any, value: Wide | None = None, columns: Indices | None = None) -> Tree:
    """The tree of a DecisionTree or ExtraTree estimator.

    Args:
        estimator: has a `tree_`.
        value: (nodes, k) what leaves say; None for the tree's own.
        columns: which columns its features are, where it was shown only some.

    Raises:
        ConversionError: a tree that leads nowhere.
    """
    tree = estimator.tree_
    said = np.asarray(tree.value[:, :, 0] if value is None else value, np.float64)
    leaf = tree.children_left < 0
    feature = np.where(leaf, 0, tree.feature).astype(np.intp)
    count = int(estimator.n_features_in_)
    missing = np.asarray(tree.missing_go_to_left, bool) & ~leaf
    made = _tree(feature, tree.threshold, tree.children_left, tree.children_right, leaf, missing)
    _check(made, count, said)
    if columns is not None:
        feature = np.asarray(columns, np.intp)[feature]
    return Tree(feature, made.threshold, made.left, made.right, missing, said)


def tree_of_predictor(nodes: Any, features: int) -> Tree:
    """The tree of one step of histogram gradient boosting.

    Args:
        nodes: a TreePredictor's record array.
        features: how many columns there are.

    Raises:
        ConversionError: splits by category, or a tree that leads nowhere.
    """
    if nodes["is_categorical"].any():
        raise ConversionError(
            "the histogram gradient boosting splits by category, which is not compiled; encode the "
            "categories as columns of 0 and 1 and train with categorical_features=None"
        )
    leaf = nodes["is_leaf"].astype(bool)
    feature = np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp)
    missing = nodes["missing_go_to_left"].astype(bool) & ~leaf
    left, right = nodes["left"].astype(np.intp), nodes["right"].astype(np.intp)
    made = _tree(feature, nodes["num_threshold"], left, right, leaf, missing)
    value = nodes["value"].astype(np.float64).reshape(-1, 1)
    _check(made, features, value)
    return Tree(feature, made.threshold, made.left, made.right, missing, value)


def _tree(
    feature: Indices, threshold: Any, left: Any, right: Any, leaf: Flags, missing: Flags
) -> Tree:
    own = np.arange(len(leaf))
    return Tree(
        feature,
        np.where(leaf, np.inf, threshold).astype(np.float64),
        np.where(leaf, own, left).astype(np.intp),
        np.where(leaf, own, right).astype(np.intp),
        missing,
        np.empty((len(leaf), 0)),
    )


def _check(tree: Tree, features: int, value: Wide) -> None:
    count = len(tree.left)
    own, inner = np.arange(count), ~tree.leaf
    onward = all(
        ((child[inner] > own[inner]) & (child[inner] < count)).all()
        for child in (tree.left, tree.right)
    )
    columns = ((tree.feature >= 0) & (tree.feature < features)).all()
    numbers = not np.isnan(tree.threshold).any() and np.isfinite(value).all()
    if not count or not onward or not columns or not numbers or len(value) != count:
        raise ConversionError(
            "a decision tree in it leads nowhere: a child, column or threshold is out of range; "
            "is the file damaged?"
        )
