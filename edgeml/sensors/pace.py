"""When a sample was taken: ticks without drift, and times without the jitter of arrival.

Times come from the monotonic clock, laid on the wall clock once: a wall clock
that is slewed moves both, and one that is set moves the times at one point,
where the windower sees it. Samples that arrive in blocks get their times from a
delay-locked loop (F. Adriaensen, Using a DLL to filter time, 2005), which
learns the sensor's own rate: its crystal is never quite what its data sheet says.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock
from edgeml.errors import ConfigError

STEP_S: Final = 0.25
"""A difference from the clock that is larger than this is a step, and not jitter."""

_BANDWIDTH: Final = 0.1
"""The loop's bandwidth in radians an update: it settles within some dozens of blocks."""

_GAIN: Final = math.sqrt(2.0) * _BANDWIDTH
_DRIFT_GAIN: Final = _BANDWIDTH**2
_MOST_DRIFT: Final = 0.2
"""How far a period is learnt from the nominal one, and bent from the learnt one: together they
stay below the one and a half periods that the windower takes for a gap."""

_LEAST: Final = 0.01


def checked_rate(rate_hz: float, name: str = "rate_hz") -> float:
    """The rate.

    Raises:
        ConfigError: it is not a positive number.
    """
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ConfigError(f"{name}={rate_hz}: a rate is a positive number")
    return float(rate_hz)


class Stamp:
    """Unix times that follow the wall clock and never jitter against the monotonic one."""

    __slots__ = ("_clock", "_offset_s", "steps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.steps = 0
        self._offset_s = clock.now_s() - clock.monotonic_s()

    def now_s(self) -> float:
        """The unix time now."""
        monotonic_s = self._clock.monotonic_s()
        offset_s = self._clock.now_s() - monotonic_s
        if abs(offset_s - self._offset_s) > STEP_S:
            self._offset_s = offset_s
            self.steps += 1
        return monotonic_s + self._offset_s


class Ticker:
    """Ticks of one period, for sensors that have to be asked.

    A tick that was missed is left out, so that a slow moment is followed by a
    gap and never by a burst of readings that pretend to be older.
    """

    __slots__ = ("_clock", "_due_s", "_period_s")

    def __init__(self, period_s: float, clock: Clock) -> None:
        self._clock = clock
        self._period_s = period_s
        self._due_s = clock.monotonic_s()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next tick, at most `timeout_s`; whether it came."""
        wait_s = self._due_s - self._clock.monotonic_s()
        if wait_s > timeout_s:
            self._clock.sleep(timeout_s)
            return False
        if wait_s > 0:
            self._clock.sleep(wait_s)
        late_s = max(-wait_s, 0.0)
        self._due_s += self._period_s * (1 + math.floor(late_s / self._period_s))
        return True


class BlockStamp:
    """Times for samples that a device clocks by itself and hands over in blocks.

    Args:
        rate_hz: the nominal rate; the true one is learnt, up to a fifth away from it.
        stamp: the time of arrival.
    """

    __slots__ = ("_broken", "_end_s", "_nominal_s", "_period_s", "_stamp", "_steps")

    def __init__(self, rate_hz: float, stamp: Stamp) -> None:
        self._nominal_s = 1.0 / rate_hz
        self._period_s = self._nominal_s
        self._stamp = stamp
        self._steps = stamp.steps
        self._end_s: float | None = None
        self._broken = False

    @property
    def rate_hz(self) -> float:
        """The rate as learnt so far."""
        return 1.0 / self._period_s

    def times_s(self, count: int, arrival_s: float | None = None) -> npt.NDArray[np.float64]:
        """Unix times (count,) of the samples of a block that has just arrived, rising.

        One that arrived before, and waited, has the `arrival_s` that the stamp gave then.

        They go on where the last block ended, without a gap however late it was,
        unless more than `STEP_S` is missing or `restart` said that something is.
        Only when the wall clock was set may they go back.
        """
        if arrival_s is None:
            arrival_s = self._stamp.now_s()
        if self._stamp.steps != self._steps:
            self._steps = self._stamp.steps
            self._end_s = None
        begin_s, end_s = self._span_s(arrival_s, count)
        self._end_s = end_s
        return begin_s + (end_s - begin_s) * np.arange(1, count + 1) / count

    def restart(self) -> None:
        """Something is missing before the next block: its times are those of its arrival."""
        self._broken = True

    def _span_s(self, arrival_s: float, count: int) -> tuple[float, float]:
        """The end of the sample before the block, and the end of the block."""
        last_s, span_s = self._end_s, count * self._period_s
        if last_s is None:
            self._broken = False
            return arrival_s - span_s, arrival_s
        error_s = arrival_s - (last_s + span_s)
        if self._broken or error_s > STEP_S:
            self._broken = False
            end_s = max(arrival_s, last_s + _LEAST * span_s)
            return max(end_s - span_s, last_s), end_s
        if error_s < -STEP_S:
            # A sensor that gives more than its rate is squeezed, but time still rises.
            return last_s, max(arrival_s, last_s + _LEAST * span_s)
        period_s = self._period_s + _DRIFT_GAIN * error_s / count
        self._period_s = min(
            max(period_s, self._nominal_s * (1 - _MOST_DRIFT)), self._nominal_s * (1 + _MOST_DRIFT)
        )
        most_s = _MOST_DRIFT * span_s
        return last_s, last_s + span_s + min(max(_GAIN * error_s, -most_s), most_s)
