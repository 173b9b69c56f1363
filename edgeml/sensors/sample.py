"""The values that flow in: one sample, a block that arrived together, and a window of them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, overload, runtime_checkable

import numpy as np
import numpy.typing as npt


class Sample(NamedTuple):
    """One reading of every channel.

    A tuple, because a source makes a thousand of them a second.

    Attributes:
        time_s: unix time at which it was taken, in seconds.
        values: float32 (channels,), in the sensor's own units; for an image
            the whole frame, in the shape that the model takes.
    """

    time_s: float
    values: npt.NDArray[np.float32]


class Block(Sequence[Sample]):
    """Samples that arrived together, as a sequence that makes each only when asked for it.

    Sound comes at sixteen thousand a second: whoever takes it whole, as the
    windower does, spares the making of as many values.

    Args:
        times_s: float64 (n,), unix times, rising.
        values: float32 (n, channels…), which the block keeps.
    """

    __slots__ = ("times_s", "values")

    def __init__(self, times_s: npt.NDArray[np.float64], values: npt.NDArray[np.float32]) -> None:
        self.times_s = times_s
        self.values = values

    def __len__(self) -> int:
        return len(self.times_s)

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, self.times_s.tolist(), self.values)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> "Block": ...
    def __getitem__(self, at: int | slice) -> "Sample | Block":
        if isinstance(at, slice):
            return Block(self.times_s[at], self.values[at])
        return Sample(float(self.times_s[at]), self.values[at])


class Window(NamedTuple):
    """A stretch of samples without a gap, ready for the model.

    Attributes:
        start_s: unix time of the first sample.
        end_s: unix time of the last sample.
        data: float32 (window, channels), the window's own memory.
        new: how many of its last rows the window before did not have, more than
            it has rows where the stream was broken; filters that run on across
            windows go by it. None for a window that stands alone.
        broken: the stream was interrupted before it, or begins with it: what is
            remembered of earlier windows should not count for it.
    """

    start_s: float
    end_s: float
    data: npt.NDArray[np.float32]
    new: int | None = None
    broken: bool = False


@runtime_checkable
class Source(Protocol):
    """Anything that gives samples, one after the other."""

    def __iter__(self) -> Iterator[Sample]:
        """Samples in the order in which they were taken."""
        ...
