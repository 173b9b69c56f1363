"""How often a device may think: the stride widens when it is hot or late, and comes back slowly.

Pure: the caller reads the temperature and the counters, and sets the stride.
The factor doubles at once when the CPU is hot or too many deadlines are
missed, and halves only after both have been well for a while, so that it does
not swing with every window (two thresholds and a time: hysteresis).
"""

import math
from dataclasses import dataclass, replace

from edgeml.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DutyLimits:
    """What makes the stride wider, and what lets it come back.

    Attributes:
        hot_c: the CPU temperature from which it widens; a Pi throttles at 80 to 85 °C.
        cool_c: the temperature below which it may come back.
        late_ratio: the share of windows missing their deadline from which it widens.
        calm_ratio: the share below which it may come back.
        settle_s: the least time between two widenings, for the last one to show.
        calm_s: how long all must be well before it comes back one step.
        widest: the most that the stride is multiplied by.

    Raises:
        ConfigError: thresholds without a distance between them, or a time or a factor too small.
    """

    hot_c: float = 78.0
    cool_c: float = 70.0
    late_ratio: float = 0.1
    calm_ratio: float = 0.01
    settle_s: float = 10.0
    calm_s: float = 60.0
    widest: int = 16

    def __post_init__(self) -> None:
        if not self.cool_c < self.hot_c:
            raise ConfigError(f"cool_c={self.cool_c} should be below hot_c={self.hot_c}")
        if not 0 <= self.calm_ratio < self.late_ratio <= 1:
            raise ConfigError(
                f"calm_ratio={self.calm_ratio} should be below late_ratio={self.late_ratio}, "
                "both from 0 to 1"
            )
        for name in ("settle_s", "calm_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a time above 0")
        if self.widest < 1:
            raise ConfigError(f"widest={self.widest}: a factor of 1 at least")


@dataclass(frozen=True, slots=True)
class DutyReading:
    """What the device sees since the decision before.

    Attributes:
        now_s: the monotonic time.
        windows: windows that were due.
        late: how many of them missed their deadline or were dropped.
        temperature_c: the CPU's temperature; None where the machine does not say.
    """

    now_s: float
    windows: int
    late: int
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Duty:
    """The decision so far.

    Attributes:
        factor: what the stride is multiplied by, a power of two.
        reason: why it is not 1: `hot`, `late`, or both; empty while it is 1.
        changed_s: when it last changed.
        calm_since_s: since when all has been well; None while it is not.
    """

    factor: int = 1
    reason: str = ""
    changed_s: float = -math.inf
    calm_since_s: float | None = None


def next_duty(duty: Duty, reading: DutyReading, limits: DutyLimits) -> Duty:
    """The factor after this reading."""
    late = reading.late / reading.windows if reading.windows else 0.0
    temperature_c = reading.temperature_c
    reasons = []
    if temperature_c is not None and temperature_c >= limits.hot_c:
        reasons.append("hot")
    if late >= limits.late_ratio:
        reasons.append("late")
    if reasons:
        duty = replace(duty, calm_since_s=None)
        settled = reading.now_s - duty.changed_s >= limits.settle_s
        if not settled or duty.factor * 2 > limits.widest:
            return duty
        return Duty(duty.factor * 2, " and ".join(reasons), reading.now_s)
    calm = late <= limits.calm_ratio and (temperature_c is None or temperature_c <= limits.cool_c)
    if not calm:
        return replace(duty, calm_since_s=None)
    if duty.calm_since_s is None:
        return replace(duty, calm_since_s=reading.now_s)
    if duty.factor == 1 or reading.now_s - duty.calm_since_s < limits.calm_s:
        return duty
    factor = duty.factor // 2
    return Duty(factor, duty.reason if factor > 1 else "", reading.now_s, reading.now_s)
