"""Takes column-by-column transformers in front of trees out of the graph, into the thresholds."""

from collections.abc import Sequence
from typing import NamedTuple

from edgeml_converters.sources.sklearn.compiled import Head, Stage
from edgeml_converters.sources.sklearn.trees import Tree
from edgeml_converters.sources.sklearn.walk import Table, merge


class Fronted(NamedTuple):
    """A compiled predictor, and the transformers that must still stand in front of it."""

    head: Head
    stages: tuple[Stage, ...]


def in_front(
    trees: Sequence[Tree], stages: tuple[Stage, ...], width: int, *, single: bool
) -> tuple[Table, tuple[Stage, ...]]:
    """Merge trees into one table, with as many transformers as can be folded into it.

    Args:
        trees: of the ensemble.
        stages: in front of it, first one first.
        width: how many columns the ensemble takes.
        single: as in `thresholds.fold`.

    Returns:
        The table, and the stages that are left: up to the last that mixes columns.
    """
    cut = len(stages)
    while cut and stages[cut - 1].columns is not None:
        cut -= 1
    folded = stages[cut:]
    columns = [stage.columns for stage in folded if stage.columns is not None]
    raw = folded[0].given if folded else width
    return merge(trees, columns, raw, single=single), stages[:cut]
