"""Cuts a stream of samples into windows, and never across a gap.

Timestamps decide, not counts: a missing stretch, a clock that was set back or
a reading that is not a number starts the window afresh, and is counted, so
that the model never sees two moments glued together.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.manifest import InputSpec
from edgeml.sensors.sample import Sample, Window

NAN_POLICIES: Final = ("restart", "hold", "raise")
GAP_PERIODS: Final = 1.5
"""A step in time longer than this many sample periods is a gap: one sample is missing."""

_SPARE_WINDOWS: Final = 4


@dataclass(slots=True)
class WindowStats:
    """What the windower met, counted since it was made."""

    samples: int = 0
    windows: int = 0
    gaps: int = 0
    backward_steps: int = 0
    not_finite: int = 0


class Windower:
    """Collects samples until a window is whole, then moves on by the stride.

    Args:
        spec: the model's input: window, stride, shape and sample rate.
        on_nan: what a reading that is not finite does: `restart` the window,
            `hold` the channel's previous value, or `raise` a SensorError.
        gap_periods: the step in time, in sample periods, from which samples are missing.

    Raises:
        ConfigError: an unknown policy, or a gap of not more than one period.
    """

    __slots__ = (
        "_data",
        "_filled",
        "_fresh",
        "_gap_s",
        "_last_s",
        "_on_nan",
        "_sample_shape",
        "_skip",
        "_start",
        "_stride",
        "_times",
        "_window",
        "stats",
    )

    def __init__(
        self, spec: InputSpec, *, on_nan: str = "restart", gap_periods: float = GAP_PERIODS
    ) -> None:
        if on_nan not in NAN_POLICIES:
            raise ConfigError(
                f"on_nan={on_nan!r} is none of {', '.join(NAN_POLICIES)}"
                f"{nearest(on_nan, NAN_POLICIES)}"
            )
        if not gap_periods > 1:
            raise ConfigError(f"gap_periods={gap_periods}: samples are one period apart at least")
        self._window = spec.window
        self._stride = spec.stride
        self._sample_shape = spec.shape[1:]
        rows = spec.window * _SPARE_WINDOWS
        self._data = np.empty((rows, *self._sample_shape), np.float32)
        self._times = np.empty(rows, np.float64)
        rate = spec.sample_rate_hz
        self._gap_s = gap_periods / rate if rate else math.inf
        self._on_nan = on_nan
        self._last_s = -math.inf
        self._start = 0
        self._filled = 0
        self._skip = 0
        self._fresh = True
        self.stats = WindowStats()

    def restart(self) -> None:
        """Forget the window under way."""
        self._start = self._filled = self._skip = 0
        self._fresh = True
        self._last_s = -math.inf

    def push(self, sample: Sample) -> Window | None:
        """Take one sample; give the window that it completes, if it does.

        Raises:
            SensorError: the sample's shape is not the model's, or it is not
                finite and the policy is `raise`.
        """
        self.stats.samples += 1
        values = np.asarray(sample.values, np.float32)
        if values.shape != self._sample_shape:
            raise SensorError(
                f"a sample of shape {values.shape} at {sample.time_s:.3f} s, but the model takes "
                f"{self._sample_shape}: the source's channels are not the model's"
            )
        self._note_time(sample.time_s)
        finite = np.isfinite(values).all()
        if not finite:
            self.stats.not_finite += 1
            held = self._handle_not_finite(values, sample.time_s)
            if held is None:
                return None
            values = held
        if self._skip:
            self._skip -= 1
            return None
        return self._append(sample.time_s, values)

    def _note_time(self, time_s: float) -> None:
        step_s = time_s - self._last_s
        if self._last_s != -math.inf and not 0 < step_s <= self._gap_s:
            if step_s > 0:
                self.stats.gaps += 1
            else:
                self.stats.backward_steps += 1
            self.restart()
        self._last_s = time_s

    def _handle_not_finite(
        self, values: npt.NDArray[np.float32], time_s: float
    ) -> npt.NDArray[np.float32] | None:
        if self._on_nan == "raise":
            raise SensorError(f"a reading that is not a number at {time_s:.3f} s: {values}")
        if self._on_nan == "hold" and self._filled:
            previous = self._data[self._start + self._filled - 1]
            return np.where(np.isfinite(values), values, previous)
        self.restart()
        return None

    def _append(self, time_s: float, values: npt.NDArray[np.float32]) -> Window | None:
        at = self._start + self._filled
        if at == len(self._data):
            self._data[: self._filled] = self._data[self._start : at]
            self._times[: self._filled] = self._times[self._start : at]
            self._start, at = 0, self._filled
        self._data[at] = values
        self._times[at] = time_s
        self._filled += 1
        if self._filled < self._window:
            return None
        start, end = self._start, at + 1
        window = Window(
            float(self._times[start]),
            float(self._times[at]),
            self._data[start:end].copy(),
            self._window + 1 if self._fresh else self._stride,
        )
        self._fresh = False
        self.stats.windows += 1
        self._advance()
        return window

    def _advance(self) -> None:
        if self._stride < self._window:
            self._start += self._stride
            self._filled -= self._stride
        else:
            self._start = self._filled = 0
            self._skip = self._stride - self._window
