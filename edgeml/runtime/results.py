"""The results of a batch as a sequence: kept in columns, a `Result` made when somebody asks for it.

Making a `Result` with its tuple of numbers costs more than a small model takes for a
window, and who evaluates a model wants its labels or its scores, not each result.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final, NamedTuple, Protocol, overload

import numpy as np

from edgeml.arrays import Floats
from edgeml.result import ModelRef, Result
from edgeml.runtime.outputs import Answer

_new: Final = tuple.__new__


class Answers(Protocol):
    """What a model said about n windows, without which model and how long it took."""

    def __len__(self) -> int:
        """How many windows."""

    def __getitem__(self, i: int, /) -> Answer:
        """The answer for one window, `i` from 0."""

    def __iter__(self) -> Iterator[Answer]:
        """Each answer, in order."""

    def labels(self) -> list[str | None]:
        """The label of each window."""

    def scores(self) -> Floats:
        """The score of each window, (n,)."""


class Rows(tuple[Answer, ...]):
    """Answers that were made one by one."""

    __slots__ = ()

    def labels(self) -> list[str | None]:
        """The label of each window."""
        return [label for label, _, _ in self]

    def scores(self) -> Floats:
        """The score of each window, (n,) float64."""
        return np.array([score for _, score, _ in self], np.float64)


class Values:
    """Answers in arrays, without labels.

    Args:
        outputs: (n, values) float32.
        scores: (n,) of float32 or float64.
    """

    __slots__ = ("_outputs", "_scores")

    def __init__(self, outputs: Floats, scores: Floats) -> None:
        self._outputs = outputs
        self._scores = scores

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, i: int, /) -> Answer:
        return self._label(i), float(self._scores[i]), tuple(self._outputs[i].tolist())

    def __iter__(self) -> Iterator[Answer]:
        rows = map(tuple, self._outputs.tolist())
        return zip(self.labels(), self._scores.tolist(), rows, strict=True)

    def labels(self) -> list[str | None]:
        """The label of each window."""
        return [None] * len(self)

    def scores(self) -> Floats:
        """The score of each window, (n,)."""
        return self._scores

    def _label(self, _: int, /) -> str | None:
        return None


class Choices(Values):
    """Answers in arrays, each the best of several labels.

    Args:
        outputs: (n, labels) float32, the scores.
        names: of the labels.
        least: what the best score has to reach to get its label.
    """

    __slots__ = ("_best", "_least", "_names")

    def __init__(self, outputs: Floats, names: Sequence[str], least: float) -> None:
        self._best = outputs.argmax(axis=1)
        super().__init__(outputs, outputs[np.arange(len(outputs)), self._best])
        self._names = names
        self._least = least

    def labels(self) -> list[str | None]:
        """The label of each window; None where the score does not reach the least."""
        names: list[str | None] = list(map(self._names.__getitem__, self._best.tolist()))
        # As Python's own number: rounded to float32 the least would be another one.
        for i in np.flatnonzero(self._scores.astype(np.float64) < self._least):
            names[i] = None
        return names

    def _label(self, i: int, /) -> str | None:
        return self._names[self._best[i]] if float(self._scores[i]) >= self._least else None


class Timing(NamedTuple):
    """What each window took on the average over its batch, in microseconds."""

    pre_us: float
    invoke_us: float
    post_us: float


class Results(Sequence[Result]):
    """What a model said about each of several windows.

    A sequence of `Result`: iterate, index, slice, compare. Where only the labels or the
    scores are wanted, `labels` and `scores` have them without making a result for each.
    """

    __slots__ = ("_answers", "_ref", "_timing")

    def __init__(self, ref: ModelRef, answers: Answers, timing: Timing) -> None:
        self._ref = ref
        self._answers = answers
        self._timing = timing

    @property
    def labels(self) -> list[str | None]:
        """The label of each window."""
        return self._answers.labels()

    @property
    def scores(self) -> Floats:
        """The score of each window, (n,) of float32 or float64."""
        return self._answers.scores()

    def __len__(self) -> int:
        return len(self._answers)

    @overload
    def __getitem__(self, i: int, /) -> Result: ...

    @overload
    def __getitem__(self, i: slice, /) -> list[Result]: ...

    def __getitem__(self, i: int | slice, /) -> Result | list[Result]:
        places = range(len(self))[i]
        if isinstance(places, range):
            return [self[place] for place in places]
        return Result(self._ref, 0.0, 0.0, *self._answers[places], *self._timing)

    def __iter__(self) -> Iterator[Result]:
        heads = repeat(self._ref), repeat(0.0), repeat(0.0)
        answers = zip(*self._answers, strict=True) if len(self) else ((), (), ())
        rows = zip(*heads, *answers, *map(repeat, self._timing), strict=False)  # answers end it
        return map(_new, repeat(Result), rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("results are compared, not hashed")

    def __repr__(self) -> str:
        return f"Results({list(self)!r})"
