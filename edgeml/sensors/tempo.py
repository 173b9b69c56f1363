"""Whether samples come at the model's rate, by their own times.

A window from a source at another rate holds another stretch of time than any in
training. A stretch is a window's samples and half a second at least, without a
gap; three in a row that are off by more than a quarter, all too fast or all too
slow, are a rate and no jitter. What was held up before a gap may come faster.
"""

from typing import Final

from edgeml.errors import SensorError

RATE_TOLERANCE: Final = 0.05
"""How far two rates that are said, not measured, may be apart and still be meant as one."""

TEMPO_TOLERANCE: Final = 1.25
"""More than `BlockStamp` bends the times of a sensor that keeps its rate."""

_LEAST_S: Final = 0.5
_STRETCHES: Final = 3
_MOST_HELD_UP: Final = 10_000


def same_rate(one_hz: float, other_hz: float, tolerance: float = RATE_TOLERANCE) -> bool:
    """Whether two rates are meant as one."""
    return not abs(one_hz / other_hz - 1) > tolerance


class Tempo:
    """Compares the rate of a stream with the one wanted.

    Args:
        rate_hz: the model's; None where it has none, and nothing is compared.
        window: how many samples a stretch has at least.

    Attributes:
        due: the number of samples from which on `judge` may say something.
    """

    __slots__ = ("_ahead", "_from", "_from_s", "_off", "_rate_hz", "_window", "due")

    def __init__(self, rate_hz: float | None, window: int) -> None:
        self._rate_hz = rate_hz or 1.0
        self._window = window
        self._from = self._off = 0
        self._ahead = 0.0
        self._from_s: float | None = None
        self.due = float("inf") if rate_hz is None else 0.0

    def restart(self, missing_s: float = 0.0) -> None:
        """The stream broke off, and for so long nothing came."""
        self._from_s, self._off = None, 0
        self._ahead = max(self._ahead - missing_s * self._rate_hz, -_MOST_HELD_UP)

    def judge(self, samples: int, time_s: float) -> None:
        """So many samples have come, the last of them at that time.

        Raises:
            SensorError: they come at another rate.
        """
        self.due = samples + self._window
        if self._from_s is not None:
            span_s = time_s - self._from_s
            if span_s < _LEAST_S:
                return
            self._compare(samples - self._from, span_s)
        self._from, self._from_s = samples, time_s

    def _compare(self, count: int, span_s: float) -> None:
        found_hz, wanted_hz = count / span_s, self._rate_hz
        if wanted_hz / TEMPO_TOLERANCE <= found_hz <= wanted_hz * TEMPO_TOLERANCE:
            self._off, self._ahead = 0, 0.0
            return
        side = 1 if found_hz > wanted_hz else -1
        self._off = self._off + side if self._off * side > 0 else side
        self._ahead += count - wanted_hz * span_s
        if abs(self._off) >= _STRETCHES and (side < 0 or self._ahead > 0):
            raise SensorError(
                f"by their times {round(found_hz, 1):g} samples come a second; the model was "
                f"trained on {wanted_hz:g}: set the sensor to that rate, or resample"
            )
