"""The count that the demonstration is for: what was produced against what is in the store.

Pure: two lists go in, numbers come out. A result counts as delivered when the
store holds one row for its window whose label, score and outputs equal what
the device wrote down when it computed them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Answer:
    """One result, as the device logged it or as the store has it."""

    start_s: float
    label: str
    score: float
    outputs: tuple[float, ...]
    total_us: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the results.

    Attributes:
        produced: results that the device computed.
        delivered: of those, the ones in the store with equal content.
        lost: produced and not delivered.
        duplicates: rows in the store beyond the first for their window.
        accuracy: share of delivered results whose label is the recording's.
        p50_us: median time from window to result, in microseconds.
        p90_us: its 90th percentile.
        p99_us: its 99th percentile.
        confusion: counts by (true label, delivered label).
    """

    produced: int
    delivered: int
    lost: int
    duplicates: int
    accuracy: float
    p50_us: float
    p90_us: float
    p99_us: float
    confusion: Mapping[tuple[str, str], int]

    @property
    def complete(self) -> bool:
        """Everything produced was delivered, each once."""
        return (
            self.produced > 0
            and self.delivered == self.produced
            and not (self.lost or self.duplicates)
        )


def tally(
    produced: Sequence[Answer], stored: Sequence[Answer], truth: Mapping[float, str]
) -> Tally:
    """Count.

    Args:
        produced: what the device logged, in order.
        stored: what the store holds, in any order.
        truth: the recording's own label, by the window's `start_s`.
    """
    by_window = {_key(answer.start_s): answer for answer in stored}
    delivered = [a for a in produced if _same(a, by_window.get(_key(a.start_s)))]
    copies = Counter(_key(answer.start_s) for answer in stored)
    true_label = {_key(start_s): label for start_s, label in truth.items()}
    confusion = Counter(
        (true_label[_key(answer.start_s)], answer.label)
        for answer in by_window.values()
        if _key(answer.start_s) in true_label
    )
    right = sum(count for (true, said), count in confusion.items() if true == said)
    judged = sum(confusion.values())
    times_us = np.array([answer.total_us for answer in produced] or [0.0])
    p50_us, p90_us, p99_us = (float(value) for value in np.percentile(times_us, [50, 90, 99]))
    return Tally(
        produced=len(produced),
        delivered=len(delivered),
        lost=len(produced) - len(delivered),
        duplicates=sum(count - 1 for count in copies.values()),
        accuracy=right / judged if judged else 0.0,
        p50_us=p50_us,
        p90_us=p90_us,
        p99_us=p99_us,
        confusion=confusion,
    )


def _key(start_s: float) -> int:
    """A window by its start in microseconds: what a float survives on its way through JSON."""
    return round(start_s * 1e6)


def _same(logged: Answer, stored: Answer | None) -> bool:
    return (
        stored is not None
        and stored.label == logged.label
        and stored.score == logged.score
        and stored.outputs == logged.outputs
    )
