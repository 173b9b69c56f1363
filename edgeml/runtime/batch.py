"""Many windows at once: an interpreter of its own whose batch axis grows while that pays.

Whether it pays depends on the model and the machine: small layers gain tenfold
from a batch, large ones lose their place in the cache. So the first calls try
the sizes of `SIZES` on their own windows, stop at the first that is no faster
for a row, and the model keeps what it learnt. A batch must also be right: not
every graph computes rows alone, so each size proves itself against single runs
before its outputs count.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Final

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import BackendError
from edgeml.runtime.backend import Backend
from edgeml.runtime.compute import Feed, feeder

SIZES: Final = (8, 32, 128)
"""Rows of a batch, tried in this order."""

Raw = Sequence[Array]
"""A model's outputs for some windows, each array with the windows along its first axis."""

_GAIN: Final = 0.97
"""A larger size stays only if a row takes at most this part of the time it took before."""
_FIRST_GAIN: Final = 1.0
"""The smallest size need only be no slower: what is done beside the model is done once for it."""
_TRIALS: Final = 3
_MOST_TRIALS: Final = 20
_TRIAL_S: Final = 0.002


class Batcher:
    """Runs prepared windows in batches of the size that suits the model.

    Serves one thread at a time.
    """

    def __init__(
        self, single: Feed, shape: tuple[int, ...], open_another: Callable[[], Backend]
    ) -> None:
        """For one model.

        Args:
            single: runs one prepared window.
            shape: of the input tensor; its first axis is the batch.
            open_another: opens the model once more.
        """
        self._single = single
        self._shape = shape
        self._open = open_another
        self._backend: Backend | None = None
        self._feed: Feed = single
        self._rows = 1
        self._cost_s: dict[int, float] = {}
        self._untried = list(SIZES) if shape[:1] == (1,) else []

    @property
    def rows(self) -> int:
        """The size in use; 1 where batches do not pay or are not right."""
        return self._rows

    def run(self, x: Floats) -> Iterator[tuple[int, Raw]]:
        """Run windows, in order.

        Args:
            x: (n, ...): prepared windows without the tensor's batch axis.

        Yields:
            How many windows come next, and their outputs; those of one window as the
            interpreter gives them.

        Raises:
            BackendError: the interpreter failed.
        """
        while self._untried and len(x) >= 2 * self._untried[0]:
            learnt = self._learn(x)
            if learnt is not None:
                yield len(learnt[0]), learnt
                x = x[len(learnt[0]) :]
        rows = self._rows
        if rows > 1:
            while len(x) >= rows:
                yield rows, self._feed(x[:rows])
                x = x[rows:]
            if len(x) * self._cost_s[1] > rows * self._cost_s[rows]:
                padded = np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
                yield len(x), [array[: len(x)] for array in self._feed(padded)]
                return
        for row in x:
            yield 1, self._one(row)

    def _one(self, row: Floats) -> Raw:
        return self._single(row.reshape(self._shape))

    def _learn(self, x: Floats) -> Raw | None:
        """Try the next size on the first windows; gives the outputs it made, if they count."""
        size = self._untried.pop(0)
        if 1 not in self._cost_s:
            sample = x[: SIZES[0]]
            self._cost_s[1] = _time(lambda: [self._one(row) for row in sample]) / len(sample)
        feed = self._resized(size)
        if feed is not None:
            chunk = x[:size]
            raw = feed(chunk)
            cost = _time(lambda: feed(chunk)) / size
            right = all(_same(self._one(chunk[i]), raw, i) for i in (0, size - 1))
            gain = _FIRST_GAIN if size == SIZES[0] else _GAIN
            if right and cost <= gain * self._cost_s[self._rows]:
                self._rows, self._feed = size, feed
                self._cost_s[size] = cost
                return raw
        self._settle()
        return None

    def _resized(self, size: int) -> Feed | None:
        """A runner of `size` rows; None where the graph does not take them."""
        with contextlib.suppress(BackendError):
            if self._backend is None:
                self._backend = self._open()
            self._backend.resize((size, *self._shape[1:]))
            if all(tensor.shape[:1] == (size,) for tensor in self._backend.outputs):
                return feeder(self._backend)
        return None

    def _settle(self) -> None:
        """Stay with the last size that was right and faster."""
        self._untried = []
        feed = self._resized(self._rows) if self._rows > 1 else None
        if feed is None:
            self._backend, self._rows, self._feed = None, 1, self._single
        else:
            self._feed = feed


def _same(single: Raw, batch: Sequence[Array], row: int) -> bool:
    """Integers equal, floats up to the order of their sums."""
    for one, many in zip(single, batch, strict=True):
        if one.shape != (1, *many.shape[1:]):
            return False
        if one.dtype.kind == "f":
            scale = float(np.abs(one).max(initial=1e-6))
            if not np.allclose(one[0], many[row], rtol=1e-4, atol=1e-5 * scale):
                return False
        elif not np.array_equal(one[0], many[row]):
            return False
    return True


def _time(work: Callable[[], object]) -> float:
    """The shortest of several times: more of them where they are short, and a pause would count."""
    best, spent, trials = float("inf"), 0.0, 0
    while trials < _TRIALS or (spent < _TRIAL_S and trials < _MOST_TRIALS):
        start = perf_counter()
        work()
        took = perf_counter() - start
        best, spent, trials = min(best, took), spent + took, trials + 1
    return best
