"""Cuts a stream of samples into windows, and never across a gap.

Timestamps decide, not counts: a missing stretch, a clock that was set back or
a reading that is not a number starts the window afresh, and is counted, so
that the model never sees two moments glued together. A steady rate that is not
the model's is an error. A reading out of the sensor's range is handled by a
policy of its own. A sample that is already the model's whole input, a frame, is
a window by itself.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.manifest import InputSpec
from edgeml.sensors.limits import Limits
from edgeml.sensors.sample import Block, Sample, Window
from edgeml.sensors.tempo import Tempo

NAN_POLICIES: Final = ("restart", "hold", "raise")
RANGE_POLICIES: Final = ("restart", "hold", "clip", "raise")
GAP_PERIODS: Final = 1.5
"""A step in time longer than this many sample periods is a gap: one sample is missing."""

_FRAME_PAUSE: Final = 5.0
"""Frames that are longer apart than this, in periods, have nothing to do with each other. Each
is a window by itself, so one that is late, as in the dark, breaks nothing."""

_SPARE_WINDOWS: Final = 4


@dataclass(slots=True)
class WindowStats:
    """What the windower met, counted since it was made."""

    samples: int = 0
    windows: int = 0
    gaps: int = 0
    backward_steps: int = 0
    not_finite: int = 0
    out_of_range: int = 0


class Windower:
    """Collects samples until a window is whole, then moves on by the stride.

    Args:
        spec: the model's input: window, stride, shape and sample rate.
        on_nan: what a reading that is not finite does: `restart` the window,
            `hold` the channel's previous value, or `raise` a SensorError.
        gap_periods: the step in time, in sample periods, from which samples are missing.
        limits: the range of each channel; None where every finite reading is believed.
        on_out_of_range: what a reading out of its range does: as `on_nan`, or `clip`.

    Raises:
        ConfigError: an unknown policy, or a gap of not more than one period.
    """

    __slots__ = (
        "_advanced",
        "_data",
        "_factor",
        "_filled",
        "_frame_pause_s",
        "_frame_shape",
        "_frame_skip",
        "_fresh",
        "_gap_s",
        "_last_s",
        "_limits",
        "_on_nan",
        "_on_out_of_range",
        "_pause_s",
        "_sample_shape",
        "_skip",
        "_start",
        "_stride",
        "_tempo",
        "_times",
        "_window",
        "stats",
    )

    def __init__(
        self,
        spec: InputSpec,
        *,
        on_nan: str = "restart",
        gap_periods: float = GAP_PERIODS,
        limits: Limits | None = None,
        on_out_of_range: str = "restart",
    ) -> None:
        _check_policy("on_nan", on_nan, NAN_POLICIES)
        _check_policy("on_out_of_range", on_out_of_range, RANGE_POLICIES)
        if not gap_periods > 1:
            raise ConfigError(f"gap_periods={gap_periods}: samples are one period apart at least")
        self._window = spec.window
        self._stride = spec.stride
        self._frame_shape = spec.shape
        self._sample_shape = spec.shape[1:]
        rows = spec.window * _SPARE_WINDOWS
        self._data = np.empty((rows, *self._sample_shape), np.float32)
        self._times = np.empty(rows, np.float64)
        rate = spec.sample_rate_hz
        self._gap_s = gap_periods / rate if rate else math.inf
        self._frame_pause_s = _FRAME_PAUSE / rate if rate else 0.0
        self._tempo = Tempo(rate, spec.window)
        self._on_nan = on_nan
        self._limits = limits
        self._on_out_of_range = on_out_of_range
        self._factor = 1
        self._advanced = spec.stride
        self._frame_skip = 0
        self._last_s = -math.inf
        self._pause_s = math.inf
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
        self._pause_s = math.inf
        self._tempo.restart()

    def leave_out(self) -> bool:
        """Begin anew: a reading of the last window was too much for preprocessing.

        It is as good as no number, and nobody knows which one it is.

        Returns:
            False where the policy is to raise; then nothing was done.
        """
        if self._on_nan == "raise":
            return False
        self.stats.not_finite += 1
        self.restart()
        return True

    def widen(self, factor: int) -> None:
        """Move on by `factor` times the model's stride from the next window on; 1 is normal.

        Raises:
            ConfigError: a factor below 1.
        """
        if factor < 1:
            raise ConfigError(f"widen({factor}): the stride is multiplied by 1 at least")
        self._factor = factor

    def push(self, sample: Sample) -> Window | None:
        """Take one sample, or one frame; give the window that it completes, if it does.

        Raises:
            SensorError: the sample's shape is not the model's, it cannot be believed
                and the policy is `raise`, or samples come at another rate.
        """
        self.stats.samples += 1
        values = np.asarray(sample.values, np.float32)
        if values.shape != self._sample_shape and values.shape != self._frame_shape:
            raise SensorError(
                f"a sample of shape {values.shape} at {sample.time_s:.3f} s, but the model takes "
                f"{self._sample_shape}: the source's channels are not the model's"
            )
        self._note_time(sample.time_s)
        checked = self._checked(values, sample.time_s)
        if checked is None:
            return None
        if checked.shape == self._frame_shape:
            return self._frame(sample.time_s, checked)
        if self._skip:
            self._skip -= 1
            return None
        window = self._append(sample.time_s, checked)
        if window is not None and self.stats.samples >= self._tempo.due:
            self._tempo.judge(self.stats.samples, sample.time_s)
        return window

    def push_block(self, block: Block) -> list[Window]:
        """Take many samples; give the windows that they complete, as `push` would one by one.

        Raises:
            SensorError: as `push` does.
        """
        times, values = block.times_s, block.values
        if values.shape[1:] != self._sample_shape or not self._is_plain(times, values):
            return [window for sample in block if (window := self.push(sample)) is not None]
        self.stats.samples += len(times)
        windows = []
        at = 0
        while at < len(times):
            if self._skip:
                passed = min(self._skip, len(times) - at)
                self._skip -= passed
                at += passed
                continue
            taken = min(self._window - self._filled, len(times) - at)
            window = self._extend(times[at : at + taken], values[at : at + taken])
            at += taken
            if window is not None:
                windows.append(window)
        if len(times):
            self._last_s = float(times[-1])
        if windows and self.stats.samples >= self._tempo.due:
            self._tempo.judge(self.stats.samples, self._last_s)
        return windows

    def _is_plain(self, times: npt.NDArray[np.float64], values: npt.NDArray[np.float32]) -> bool:
        """Whether no sample of it needs a decision."""
        new = self._last_s == -math.inf
        steps = np.diff(times) if new else np.diff(times, prepend=self._last_s)
        return bool(
            (steps > 0).all()
            and (steps <= self._gap_s).all()
            and np.isfinite(values).all()
            and not (self._limits is not None and self._limits.outside(values).any())
        )

    def _note_time(self, time_s: float) -> None:
        step_s = time_s - self._last_s
        if self._last_s != -math.inf and not 0 < step_s <= self._gap_s:
            self.restart()
            if step_s > 0:
                self.stats.gaps += 1
                self._pause_s = step_s
                self._tempo.restart(step_s)
            else:
                self.stats.backward_steps += 1
        self._last_s = time_s

    def _checked(
        self, values: npt.NDArray[np.float32], time_s: float
    ) -> npt.NDArray[np.float32] | None:
        """What of the reading goes on: itself, its repair, or nothing."""
        finite = np.isfinite(values)
        if not finite.all():
            self.stats.not_finite += 1
            repaired = self._repaired(values, ~finite, self._on_nan, time_s)
            if repaired is None:
                return None
            values = repaired
        if self._limits is not None:
            outside = self._limits.outside(values)
            if outside.any():
                self.stats.out_of_range += 1
                return self._repaired(values, outside, self._on_out_of_range, time_s)
        return values

    def _repaired(
        self,
        values: npt.NDArray[np.float32],
        bad: npt.NDArray[np.bool_],
        policy: str,
        time_s: float,
    ) -> npt.NDArray[np.float32] | None:
        if policy == "raise":
            raise SensorError(
                f"a reading that is not a number, or out of range, at {time_s:.3f} s: {values[bad]}"
            )
        if policy == "clip" and self._limits is not None:
            return np.clip(values, self._limits.low, self._limits.high)
        if policy == "hold" and self._filled and values.shape == self._sample_shape:
            return np.where(bad, self._data[self._start + self._filled - 1], values)
        self.restart()
        return None

    def _frame(self, time_s: float, values: npt.NDArray[np.float32]) -> Window | None:
        if self._frame_skip:
            self._frame_skip -= 1
            return None
        self._frame_skip = self._factor - 1
        self.stats.windows += 1
        broken = self._fresh and self._pause_s > self._frame_pause_s
        self._fresh = False
        return Window(time_s, time_s, values.copy(), None, broken)

    def _append(self, time_s: float, values: npt.NDArray[np.float32]) -> Window | None:
        at = self._room(1)
        self._data[at] = values
        self._times[at] = time_s
        self._filled += 1
        return self._completed() if self._filled == self._window else None

    def _extend(
        self, times: npt.NDArray[np.float64], values: npt.NDArray[np.float32]
    ) -> Window | None:
        """Add rows, no more than complete the window under way."""
        at = self._room(len(times))
        self._data[at : at + len(times)] = values
        self._times[at : at + len(times)] = times
        self._filled += len(times)
        return self._completed() if self._filled == self._window else None

    def _room(self, rows: int) -> int:
        """Where the next rows go; what is kept moves to the front when the end is near."""
        at = self._start + self._filled
        if at + rows > len(self._data):
            self._data[: self._filled] = self._data[self._start : at]
            self._times[: self._filled] = self._times[self._start : at]
            self._start, at = 0, self._filled
        return at

    def _completed(self) -> Window:
        start, end = self._start, self._start + self._window
        window = Window(
            float(self._times[start]),
            float(self._times[end - 1]),
            self._data[start:end].copy(),
            self._window + 1 if self._fresh else self._advanced,
            self._fresh,
        )
        self._fresh = False
        self.stats.windows += 1
        self._advance()
        return window

    def _advance(self) -> None:
        stride = self._advanced = self._stride * self._factor
        if stride < self._window:
            self._start += stride
            self._filled -= stride
        else:
            self._start = self._filled = 0
            self._skip = stride - self._window


def _check_policy(name: str, policy: str, known: tuple[str, ...]) -> None:
    if policy not in known:
        raise ConfigError(
            f"{name}={policy!r} is none of {', '.join(known)}{nearest(policy, known)}"
        )
