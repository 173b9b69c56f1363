"""Many trees at once in a graph of builtin operators: one step down for all, level by level.

Every inner node of every tree is a row of four tables: column, threshold, left,
right. The state is one row number for each tree; a level gathers by it, compares
and selects, in seven operators, however many trees there are. Leaves lead to
themselves, so trees of unequal depth wait for the deepest. Equal leaves are one
leaf, equal nodes with equal children one node, and a node whose two children
are the same is left out. docs/adr/0016 has what else was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgeml_converters.sources.sklearn.compiled import Columns, Floats, Ints, Tensor
from edgeml_converters.sources.sklearn.thresholds import above, fold
from edgeml_converters.sources.sklearn.trees import Tree

ALWAYS: Final = np.float32(np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The trees of an ensemble, merged.

    Attributes:
        column: (n,) which raw column a row looks at; from `width` on, minus that column.
        threshold: (n,) goes left up to and including this.
        left: (n,) the row there; leaves come first, and lead to themselves.
        right: (n,) the other row.
        values: (leaves, k) what each leaf says.
        roots: (trees,) where each tree starts.
        levels: how many steps the deepest leaf is away.
        mirrored: whether any row looks at minus a column.
    """

    column: Ints
    threshold: Floats
    left: Ints
    right: Ints
    values: Floats
    roots: Ints
    levels: int
    mirrored: bool


def merge(trees: Sequence[Tree], columns: Sequence[Columns], width: int, *, single: bool) -> Table:
    """Put trees into one table.

    Args:
        trees: at least one, all with values of the same width.
        columns: the transformers in front of them, to be folded into the thresholds.
        width: how many raw columns there are.
        single: as in `fold`.
    """
    feature = np.concatenate([tree.feature for tree in trees])
    limits = np.concatenate([tree.threshold for tree in trees])
    column, threshold = fold(columns, feature, limits, single=single)
    # x <= t sends NaN right. Where it belongs left, the same question is put the other way
    # round: minus x <= minus the next number above t, and the children change places.
    missing = np.concatenate([tree.missing_left for tree in trees])
    column = np.where(missing, column + width, column)
    threshold = np.where(missing, -above(threshold), threshold).astype(np.float32)
    rows = _Rows()
    values, leaves = _leaves(trees, rows)
    roots, start = [], 0
    for tree, leaf_rows in zip(trees, leaves, strict=True):
        row = leaf_rows.copy()
        for node in np.flatnonzero(~tree.leaf)[::-1]:
            at = start + int(node)
            sides = int(row[tree.left[node]]), int(row[tree.right[node]])
            left, right = sides[::-1] if missing[at] else sides
            row[node] = rows.add(int(column[at]), threshold[at], left, right)
        roots.append(int(row[0]))
        start += len(row)
    return Table(
        np.array(rows.column, np.int32),
        np.array(rows.threshold, np.float32),
        np.array(rows.left, np.int32),
        np.array(rows.right, np.int32),
        values,
        np.array(roots, np.int32),
        max(rows.height[root] for root in roots),
        bool(max(rows.column) >= width),
    )


class _Rows:
    """Rows so far; an equal one is not added again."""

    def __init__(self) -> None:
        self.column: list[int] = []
        self.threshold: list[np.float32] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.height: list[int] = []
        self._known: dict[tuple[int, bytes, int, int], int] = {}

    def leaf(self) -> int:
        row = len(self.column)
        self._append(0, ALWAYS, row, row, 0)
        return row

    def add(self, column: int, threshold: np.float32, left: int, right: int) -> int:
        if left == right:
            return left
        key = (column, threshold.tobytes(), left, right)
        if key not in self._known:
            self._known[key] = len(self.column)
            height = 1 + max(self.height[left], self.height[right])
            self._append(column, threshold, left, right, height)
        return self._known[key]

    def _append(
        self, column: int, threshold: np.float32, left: int, right: int, height: int
    ) -> None:
        self.column.append(column)
        self.threshold.append(threshold)
        self.left.append(left)
        self.right.append(right)
        self.height.append(height)


def _leaves(trees: Sequence[Tree], rows: _Rows) -> tuple[Floats, list[Ints]]:
    """The distinct leaves, as rows, and for each tree the row of each node that is one."""
    said = np.concatenate([tree.value for tree in trees]).astype(np.float32)
    leaf = np.concatenate([tree.leaf for tree in trees])
    values, place = np.unique(said[leaf], axis=0, return_inverse=True)
    for _ in values:
        rows.leaf()
    row = np.zeros(len(leaf), np.int32)
    row[leaf] = place.reshape(-1)
    ends = np.cumsum([len(tree.left) for tree in trees])
    return values, np.split(row, ends[:-1])


def leaf_values(tf: Any, x: Tensor, table: Table) -> Tensor:
    """What the leaf that a row reaches says, for each tree: (trees, k).

    Args:
        tf: TensorFlow.
        x: (1, width), raw.
        table: the trees.
    """
    flat = tf.reshape(x, [-1])
    if table.mirrored:
        flat = tf.concat([flat, -flat], 0)
    row = tf.constant(table.roots)
    for _ in range(table.levels):
        left = tf.gather(flat, tf.gather(table.column, row)) <= tf.gather(table.threshold, row)
        row = tf.where(left, tf.gather(table.left, row), tf.gather(table.right, row))
    return tf.gather(table.values, row)
