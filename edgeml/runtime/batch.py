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

from edgeml.errors import BackendError
from edgeml.runtime.backend import Backend
from edgeml.runtime.compute import Feed, feeder
from edgeml.runtime.tensors import Array, Floats

SIZES: Final = (8, 32, 128)
"""Rows of a batch, tried in this order."""

Row = Sequence[Array]
"""A model's outputs for one window, each with its batch axis of 1."""

_GAIN: Final = 0.97
"""A larger size stays only if a row takes at most this part of the time it took before."""
_TRIALS: Final = 3


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

    def run(self, x: Floats) -> Iterator[list[Row]]:
        """Run windows, in order.

        Args:
            x: (n, ...): prepared windows without the tensor's batch axis.

        Yields:
            The outputs of the next windows.

        Raises:
            BackendError: the interpreter failed.
        """
        while self._untried and len(x) >= 2 * self._untried[0]:
            learnt = self._learn(x)
            yield learnt
            x = x[len(learnt) :]
        rows = self._rows
        if rows > 1:
            while len(x) >= rows:
                yield _rows(self._feed(x[:rows]), rows)
                x = x[rows:]
            if len(x) * self._cost_s[1] > rows * self._cost_s[rows]:
                padded = np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
                yield _rows(self._feed(padded), len(x))
                return
        for row in x:
            yield [self._one(row)]

    def _one(self, row: Floats) -> Row:
        return self._single(row.reshape(self._shape))

    def _learn(self, x: Floats) -> list[Row]:
        """Try the next size on the first windows; gives the outputs it made of them."""
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
            if right and cost <= _GAIN * self._cost_s[self._rows]:
                self._rows, self._feed = size, feed
                self._cost_s[size] = cost
                return _rows(raw, size)
        self._settle()
        return []

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


def _rows(raw: Sequence[Array], count: int) -> list[Row]:
    if len(raw) == 1:
        only = raw[0]
        return [(only[i : i + 1],) for i in range(count)]
    return [tuple(array[i : i + 1] for array in raw) for i in range(count)]


def _same(single: Row, batch: Sequence[Array], row: int) -> bool:
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
    best = float("inf")
    for _ in range(_TRIALS):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best
