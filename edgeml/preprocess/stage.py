"""What flows between two steps, and what a compiled step is.

Everything here is decided before the first window: shapes, rates, and who owns
the memory a step may write into. A compiled step (`Stage`) takes a window, or a
batch of them on one more leading axis, so its axes count from the end.
"""

import math
from collections.abc import Callable
from types import EllipsisType
from typing import NamedTuple, Protocol

import numpy as np

from edgeml.arrays import Array as AnyArray
from edgeml.arrays import Floats, Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.manifest import MAX_ELEMENTS

Array = Floats
Index = tuple[EllipsisType | slice, ...]

Run = Callable[[Array, "Array | None"], Array]
"""A step's work: `run(x, out)`. `out` is x itself where the step may overwrite it, else None."""


class Signal(NamedTuple):
    """What a step takes or gives.

    Attributes:
        shape: of one window, without the batch axis; axis 0 is time (or an image's rows).
        sample_rate_hz: rows a second along axis 0; None where that means nothing.
    """

    shape: tuple[int, ...]
    sample_rate_hz: float | None = None

    @property
    def time_axis(self) -> int:
        """Axis 0 of a window, counted from the end, so that it holds for a batch too."""
        return -len(self.shape)


class Memory(Protocol):
    """What a step remembers from one window of a stream to the next."""

    def advance(self, x: Array, new: int) -> Array:
        """The output for window `x`, of which the last `new` rows were not seen before."""
        ...


class Stage(NamedTuple):
    """One compiled step.

    Attributes:
        output: what it gives.
        run: the work on a window, or a batch, that is complete in itself.
        fresh: whether the result is new memory; False for a view of the argument.
        local: whether a row's value depends on that row and earlier ones alone, so that
            it comes out the same in every window it is part of.
        remember: makes the memory of a step that keeps state across windows; None for the rest.
    """

    output: Signal
    run: Run
    fresh: bool = True
    local: bool = False
    remember: Callable[[], Memory] | None = None


StepType = Callable[[Fields, Signal], Stage]
"""A step's definition: reads its JSON parameters, and compiles it for what it will be given."""


def signal(fields: Fields, shape: tuple[int, ...], sample_rate_hz: float | None = None) -> Signal:
    """What a step will give, checked.

    Raises:
        PreprocessError: an empty axis, or more elements than a window may hold.
    """
    if not shape or min(shape) < 1:
        raise PreprocessError(f"{fields.path} would give the shape {list(shape)}, which is empty")
    if math.prod(shape) > MAX_ELEMENTS:
        raise PreprocessError(
            f"{fields.path} would give the shape {list(shape)}, more than {MAX_ELEMENTS} elements"
        )
    return Signal(shape, sample_rate_hz)


def widen(x: AnyArray) -> Wide:
    """A float64 copy in C order: sums then run in one order, whatever the layout of the window."""
    return np.array(x, dtype=np.float64, order="C")


def unchanged(x: Array, out: Array | None) -> Array:  # noqa: ARG001 - the shape of every Run
    """The work of a step that has nothing to do."""
    return x
